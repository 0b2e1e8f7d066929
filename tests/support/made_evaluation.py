"""An evaluation with one score, written by hand."""

from __future__ import annotations

from genuq.analysis.evaluation_entries import DrawsQuality, Evaluation, JudgeEntry, SampleTable, Summary, SummaryRow
from genuq.analysis.score_entries import BinnedMetric, Correlation, Curve, Detection, IntervalRow, ScoreEntry

ROW = IntervalRow(0.5, 0.25, 0.75)

SCORE = ScoreEntry(
    name="entropy",
    label="Generative uncertainty",
    kind="score",
    evaluations_per_sample=20.0,
    curves={"fid": Curve([1.0, 0.5], [8.0, 7.0], [7.5, None], [8.5, 7.5], [8.0, 8.25], [8.0, 8.0], [8.0, 8.5])},
    gains={"fid": ROW},
    per_class_gains=None,
    bins={"fid": BinnedMetric([0.1, None], [7.0, 9.0], IntervalRow(None, None, None))},
    correlations=[Correlation("realism", "spearman", -0.5, -0.75, -0.25, 40)],
    auroc=Detection(0.75, 0.5, 1.0, positives=7, n=40),
    ause=None,
    notes=["No AUSE: none."],
)

EVALUATION = Evaluation(
    summary=Summary(
        "It does.",
        True,
        None,
        "realism",
        [SummaryRow("entropy", "E", "score", -0.5, -0.75, -0.25, 0.75, 0.5, 1.0, 0.5, 0.25, 0.75)],
    ),
    judge=JudgeEntry("classifier", 64, 3, 40, 40, 0.9, 0.8, True, []),
    scores=[SCORE],
    quality={"draws": DrawsQuality(8.0, [8.5, None])},
    samples=SampleTable(["index", "score_entropy"], [[0, 0.5], [1, 0.25]]),
)
