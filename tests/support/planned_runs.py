"""Runs as a plan has them: every artefact named, none made."""

from __future__ import annotations

from pathlib import Path

from genuq.pipeline.stage import STAGES
from genuq.planning.planned import PlannedRun
from support.small_runs import composed


def planned(folder: Path, *overrides: str) -> PlannedRun:
    """The run that these overrides ask for, with its store in the folder."""
    run = PlannedRun(composed(f"store={folder}/store", *overrides), folder, "genuq")
    for stage in STAGES.values():
        if stage.applies(run):
            stage.folder(run)
    return run
