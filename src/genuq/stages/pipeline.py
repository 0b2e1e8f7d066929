"""The stages of a run, in their order."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from genuq.stages import preflight, runtime
from genuq.stages.apply import Apply
from genuq.stages.embed import Embed
from genuq.stages.evaluate import Evaluate
from genuq.stages.fit import Fit
from genuq.stages.progress import Display
from genuq.stages.propagate import Propagate
from genuq.stages.report import Report
from genuq.stages.run import Run
from genuq.stages.sample import Sample
from genuq.stages.score import Score
from genuq.stages.stage import STAGES, register
from genuq.stages.train import Train, TrainJudge

for _stage in (Train, TrainJudge, Fit, Sample, Propagate, Embed, Score, Evaluate, Apply, Report):
    register(_stage)


def opened(config: DictConfig, folder: Path, command: str = "genuq") -> Run:
    """A run whose artefacts can be read, whatever of them is there."""
    run = Run(config, folder, command)
    for stage in STAGES.values():
        stage.folder(run)
    return run


def execute(config: DictConfig, folder: Path, command: str, display: Display | None = None) -> Run:
    """Check everything, then run the stages named by `config.stages`, in the order of the pipeline."""
    first = runtime.is_first_process()
    run, display = Run(config, folder, command), display or Display(Console(quiet=not first))
    with display.busy("checking the configuration, the data and the weights"):
        preflight.check(run)
    for name, stage in STAGES.items():
        if name in config.stages and stage.applies(run):
            (stage.execute if first else stage.work_along)(run, display)
    return run
