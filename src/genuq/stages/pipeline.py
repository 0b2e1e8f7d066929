"""The stages of a run, in their order."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

# Importing a stage registers it: the order of these lines is the order of the pipeline.
from genuq.stages import (  # noqa: F401
    embed,
    evaluate,
    fit,
    preflight,
    report,
    sample,
    score,
    train,
)
from genuq.stages.progress import Display
from genuq.stages.run import Run
from genuq.stages.stage import STAGES


def execute(config: DictConfig, folder: Path, command: str, display: Display | None = None) -> Run:
    """Check everything, then run the stages named by `config.stages`, in the order of the pipeline."""
    run, display = Run(config, folder, command), display or Display()
    preflight.check(run)
    for name, stage in STAGES.items():
        if name in config.stages:
            stage.execute(run, display)
    return run
