"""An evaluation on disk: read back as it was, and its scores alone whether or not they have a file of their own."""

from __future__ import annotations

import pytest

from genuq import files
from genuq.analysis.numbers import numbers_of
from genuq.analysis.results import (
    BinnedMetric,
    Correlation,
    Curve,
    Detection,
    DrawsQuality,
    Evaluation,
    IntervalRow,
    JudgeEntry,
    SampleTable,
    ScoreEntry,
    Summary,
    SummaryRow,
    read_evaluation,
    read_scores,
    write_evaluation,
)
from genuq.errors import ArtefactError

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


def test_an_evaluation_comes_back_as_it_was(tmp_path):
    write_evaluation(tmp_path, EVALUATION)
    assert read_evaluation(tmp_path) == EVALUATION
    assert read_scores(tmp_path) == [SCORE]
    (tmp_path / "scores.json").unlink()
    assert read_scores(tmp_path) == [SCORE]


def test_another_versions_evaluation_names_the_key(tmp_path):
    written = files.plain(EVALUATION)
    written["scores"][0]["auroc"]["negatives"] = 33
    files.write_json(tmp_path / "evaluation.json", written)
    with pytest.raises(ArtefactError, match=r"evaluation.json: 'scores\[0\].auroc.negatives' is not a key"):
        read_evaluation(tmp_path)


def test_parts_are_found_by_name():
    assert EVALUATION.score("entropy") is SCORE
    assert SCORE.correlation("realism", "spearman").interval.value == -0.5
    assert SCORE.correlation("realism", "kendall") is None
    assert EVALUATION.samples.of_score("entropy") == [0.5, 0.25]
    assert EVALUATION.summary.row("entropy").measured("auroc") == IntervalRow(0.75, 0.5, 1.0)
    assert EVALUATION.summary.measured("fid_gain") == [ROW] and EVALUATION.summary.row("trace") is None


def test_numbers_of_an_evaluation_by_name():
    found = numbers_of(EVALUATION)
    assert found["entropy/auroc_low"] == 0.5 and found["entropy/fid_gain"] == 0.5 and found["entropy/spearman"] == -0.5
    assert (found["entropy/evaluations"], found["fid"], found["sample_accuracy"]) == (20.0, 8.0, 0.8)
    assert "entropy/ause" not in found and "entropy/label" not in found
