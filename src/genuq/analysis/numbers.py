"""The numbers of a run, under flat names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
