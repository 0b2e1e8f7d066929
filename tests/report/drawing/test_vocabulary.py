"""The report's words: directions and labels from the registers, a sentence for each word."""

from __future__ import annotations

import pytest

from genuq.analysis import METRICS as REGISTER
from genuq.posteriors import POSTERIORS as REGISTERED
from genuq.report.drawing import vocabulary
from genuq.report.drawing.vocabulary import BASELINES, METRICS, OVER_HEAD, POSTERIORS, known_first, measure_of


def test_metrics_are_those_of_the_register() -> None:
    assert list(METRICS) == list(REGISTER) and len(METRICS) == len(REGISTER)
    assert METRICS["fid"].direction == "lower is better" and METRICS["recall"].direction == "higher is better"
    assert METRICS["precision"].bounds == (0.0, 1.0)
    with pytest.raises(KeyError):
        METRICS["fyd"]


def test_words_of_parts_are_their_own_and_only_of_those_asked_for() -> None:
    assert set(POSTERIORS) == set(REGISTERED) and len(POSTERIORS) == len(REGISTERED)
    assert POSTERIORS["kfac"] == (REGISTERED["kfac"].label, REGISTERED["kfac"].description)
    assert "exact_laplace" in OVER_HEAD and "kfac" not in OVER_HEAD
    assert "entropy" not in BASELINES and "likelihood" in BASELINES and None not in BASELINES


def test_every_explanation_is_one_sentence_or_more() -> None:
    for key, (label, words) in {**vocabulary.GLOSSARY, **POSTERIORS, **BASELINES}.items():
        assert label and words.endswith(".") and words[:1] == words[:1].upper(), key


def test_known_metrics_come_first_in_the_registers_order() -> None:
    assert known_first(["zeal", "recall", "fid", "fid", "ardour"]) == ["fid", "recall", "ardour", "zeal"]
    assert vocabulary.metric_label("zeal") == "zeal" and vocabulary.direction("zeal") == ""


@pytest.mark.parametrize(
    ("name", "label", "lower_is_better"),
    [
        ("entropy/auroc", "AUROC", False),
        ("entropy/ause", "AUSE", True),
        ("entropy/fid_gain", "FID gain", False),
        ("entropy/fid_kept", "FID of those kept", True),
        ("entropy/precision_kept", "Precision of those kept", False),
        ("fid", "FID", True),
        ("sample_accuracy", "Accuracy of the samples", False),
        ("seconds/fit", "Seconds of fit", True),
    ],
)
def test_numbers_of_a_run_are_known_by_their_names(name: str, label: str, lower_is_better: bool) -> None:
    found = measure_of(name)
    assert found is not None and (found.label, found.lower_is_better) == (label, lower_is_better)
    assert measure_of("entropy/zeal") is None
