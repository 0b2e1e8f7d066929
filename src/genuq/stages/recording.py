"""What is kept of a run for its study, gathered from its artefacts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from genuq import files
from genuq.stages import neutral
from genuq.stages.artefacts import fingerprint
from genuq.stages.records import RunRecord
from genuq.stages.run import Run
from genuq.stages.stage import STAGES


def record_of(run: Run) -> RunRecord:
    """The record of a run as far as it has come; without results as long as it is not evaluated.

    A run has one from its start: what it needs is not pruned while it works, nor after it was killed.
    """
    for name, stage in STAGES.items():
        if name in run.config.stages and stage.applies(run):
            stage.folder(run)
    made = {name: folder for name, folder in run.artefacts.items() if folder.is_current()}
    identity = {name: folder.fingerprint for name, folder in run.artefacts.items() if name not in neutral.STAGES}
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
        results=results_of(run) if "evaluate" in made else {},
        folder=os.path.relpath(run.folder.absolute(), run.store),
    )


def results_of(run: Run) -> dict[str, Any]:
    evaluation = files.read_json(run.path("evaluate") / "evaluation.json")
    summary, judge = evaluation["summary"], evaluation["judge"]
    return {"summary": summary, "judge": judge, "numbers": numbers_of(evaluation)}


def numbers_of(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Every number of an evaluation that a table may show, by name.

    `entropy/auroc` with `_low` and `_high` for the measures of a score: `auroc`, `ause`, `spearman`, `fid_gain` and
    the gains in the other metrics; `entropy/evaluations`, of the network for one sample; and `fid`, `precision` and
    so on of all samples, with `sample_accuracy` where the judge knows classes.
    """
    found: dict[str, Any] = {}
    for row in evaluation["summary"]["table"]:
        found |= {f"{row['score']}/{key}": value for key, value in row.items()}
    for row in evaluation["scores"]:
        measures = {"ause": row["ause"], **{f"{metric}_gain": gain for metric, gain in row["gains"].items()}}
        for measure, entry in measures.items():
            for part in ("value", "low", "high"):
                key = f"{row['name']}/{measure}" + ("" if part == "value" else f"_{part}")
                found.setdefault(key, (entry or {}).get(part))
        found[f"{row['name']}/evaluations"] = row["evaluations_per_sample"]
    curves = evaluation["scores"][0]["curves"]
    found |= {metric: curve["value"][0] for metric, curve in curves.items() if curve and curve["fraction"][0] == 1.0}
    found["sample_accuracy"] = evaluation["judge"].get("sample_accuracy")
    return {key: float(value) for key, value in found.items() if isinstance(value, int | float)}
