"""The numbers of an evaluation that a table, a record or a search may ask for, each by its name."""

from __future__ import annotations

from typing import Any

from genuq.analysis.evaluation_entries import Evaluation
from genuq.analysis.results import Application
from genuq.analysis.score_entries import IntervalRow
from genuq.files import plain

AUROC_OF, SHARE_OF = "auroc_of_", "share_of_"  # begin the names of a fault's numbers
KEPT = "_kept"  # ends the name of a metric of the samples that are kept at the smallest fraction
CLIP_SCORE = "clip_score"
ENDS = {"value": "", "low": "_low", "high": "_high"}  # of a number's name, by the part of its interval


def numbers_of(evaluation: Evaluation) -> dict[str, float]:
    """Every number of an evaluation that a table may show, by name.

    `entropy/auroc` with `_low` and `_high` for the measures of a score: `auroc`, `within_classes`, `adds` (to the
    controls), `ause`, `spearman`, `fid_gain` and the gains in the other metrics, `fid_kept` and the other metrics of
    the samples that are left at the smallest of the fractions; `entropy/adds_p` of its test;
    `entropy/evaluations`, of the network for one sample; and `fid`, `precision` and so on of all samples, with
    `sample_accuracy` where the judge knows classes, and `clip_score` where a CLIP knows prompts, with which
    `entropy/spearman_clip_score` is the correlation. Where an oracle knows the truth, also `entropy/auroc_of_broken`
    and so on for every fault, and `share_of_broken` among the samples.
    """
    found: dict[str, Any] = {}
    for row in evaluation.summary.table:
        found |= {f"{row.score}/{key}": value for key, value in plain(row).items()}
    for entry in evaluation.scores:
        measures: dict[str, IntervalRow | None] = {"ause": entry.ause}
        measures |= {f"{metric}_gain": gain for metric, gain in entry.gains.items()}
        measures |= {f"{metric}{KEPT}": curve.at(-1) for metric, curve in entry.curves.items()}
        if (shown := entry.correlation(CLIP_SCORE, "spearman")) is not None:
            measures[f"spearman_{CLIP_SCORE}"] = IntervalRow(shown.value, shown.low, shown.high)
        measures |= {f"{AUROC_OF}{fault}": detection for fault, detection in entry.detections.items()}
        for measure, interval in measures.items():
            for part, end in ENDS.items():
                found.setdefault(f"{entry.name}/{measure}{end}", getattr(interval, part, None))
        found[f"{entry.name}/adds_p"] = None if entry.adds is None else entry.adds.p
        found[f"{entry.name}/evaluations"] = entry.evaluations_per_sample
    curves = evaluation.scores[0].curves
    found |= {metric: curve.value[0] for metric, curve in curves.items() if curve.fraction[0] == 1.0}
    found["sample_accuracy"] = evaluation.judge.sample_accuracy
    if evaluation.prompts is not None and (mean := evaluation.prompts.clip_score) is not None:
        found |= {f"{CLIP_SCORE}{end}": getattr(mean, part) for part, end in ENDS.items()}
    if (truth := evaluation.truth) is not None:
        found |= {f"{SHARE_OF}{fault}": count / truth.samples for fault, count in truth.counts.items()}
    return {key: float(value) for key, value in found.items() if isinstance(value, int | float)}


def numbers_of_application(application: Application) -> dict[str, float]:
    """What an application achieved, by names that begin with its own: `filter.fid` with `_low` and `_high`, the same
    of its control `filter.fid_control`, and of their difference, `filter.fid_difference`.
    """
    found: dict[str, Any] = {}
    for row in application.outcome:
        for kind, interval in (("", row.ours), ("_control", row.control), ("_difference", row.gap)):
            name = f"{application.name}.{row.measure}{kind}"
            found |= {f"{name}{end}": getattr(interval, part) for part, end in ENDS.items()}
    return {key: float(value) for key, value in found.items() if isinstance(value, int | float)}
