"""What is kept of a run for its study, gathered from its artefacts."""

from __future__ import annotations

import os
from typing import Any

from genuq.analysis.evaluation_entries import read_evaluation
from genuq.analysis.numbers import numbers_of, numbers_of_application
from genuq.analysis.results import RunResults
from genuq.config import neutral
from genuq.pipeline.run import Run
from genuq.pipeline.stage import STAGES
from genuq.pipeline.stages.apply import read_application
from genuq.store.artefact import fingerprint
from genuq.store.records import RunRecord
from genuq.store.scales import FULL


def record_of(run: Run) -> RunRecord:
    """The record of a run as far as it has come; without results as long as it is not evaluated.

    A run has one from its start: what it needs is not pruned while it works, nor after it was killed.
    """
    for name, stage in STAGES.items():
        if name in run.config.stages and stage.applies(run):
            stage.folder(run)
    made = {name: folder for name, folder in run.artefacts.items() if folder.is_current()}
    identity: dict[str, Any] = {
        name: folder.fingerprint for name, folder in run.artefacts.items() if name not in neutral.STAGES
    }
    if run.scale != FULL:  # shrunk runs may agree in everything but what was asked for
        identity["asked"] = sorted(run.job.overrides)
    return RunRecord(
        study=run.study,
        name=run.job.name or run.config.name,
        id=fingerprint(identity)[:16],
        command=run.command,
        overrides=run.job.overrides,
        choices=dict(run.job.choices),
        config=run.plain(),
        artefacts={name: str(folder.path.relative_to(run.store)) for name, folder in run.artefacts.items()},
        seconds={name: folder.manifest()["seconds"] for name, folder in made.items()},
        results=results_of(run, applied="apply" in made) if "evaluate" in made else None,
        folder=os.path.relpath(run.folder.absolute(), run.store),
    )


def results_of(run: Run, applied: bool) -> RunResults:
    evaluation = read_evaluation(run.path("evaluate"))
    outcome = numbers_of_application(read_application(run.path("apply"))) if applied else {}
    return RunResults(evaluation.summary, evaluation.judge, numbers_of(evaluation) | outcome)
