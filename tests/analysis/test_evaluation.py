"""The whole evaluation: the results' contract, and who may judge."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from genuq import files
from genuq.analysis import (
    EvaluationSettings,
    SampleFacts,
    ScoredSamples,
    check_independence,
    describe_judge,
    evaluate_scores,
    neighbourhood_for,
)
from genuq.analysis.score_entries import ScoreEntry
from genuq.entries import from_json
from genuq.errors import ConfigurationError, DataError, NonFiniteError
from genuq.metrics import MetricLabel, manifold, neighbours
from genuq.parallel import collectives

COUNT = 160
SOURCE = np.random.default_rng(0)
BAD = np.arange(COUNT) % 4 == 0
REAL = SOURCE.normal(size=(300, 5)).astype(np.float32)
FAKE = (SOURCE.normal(size=(COUNT, 5)) + 2.0 * BAD[:, None]).astype(np.float32)
NOISE = SOURCE.normal(size=COUNT)
COMPLEXITY = SOURCE.random(COUNT)
SETTINGS = EvaluationSettings(
    k=3, fractions=(1.0, 0.75, 0.5), bins=4, bootstrap=100, half_samples=20, random_repeats=10
)
SCORES = {
    "entropy": ScoredSamples(BAD + 0.4 * NOISE, "Generative uncertainty", evaluations_per_sample=250.0),
    "complexity": ScoredSamples(torch.from_numpy(COMPLEXITY), "Complexity", "control"),
}
FACTS = SampleFacts(
    targets={"confidence": 1 - BAD + 0.5 * NOISE, "membership": ~BAD},
    bad=BAD,
    classes=np.arange(COUNT) % 5,
    complexity=COMPLEXITY,
)
STEPS: list[tuple[int, int, str]] = []
ROWS = evaluate_scores(SCORES, torch.from_numpy(FAKE), REAL, FACTS, SETTINGS, lambda *step: STEPS.append(step))


def test_rows_are_plain_json_of_the_results_form():
    written = json.loads(json.dumps(files.plain(ROWS), allow_nan=False))
    assert from_json(Sequence[ScoreEntry], written) == ROWS
    row = written[0]
    assert (row["name"], row["kind"], row["evaluations_per_sample"]) == ("entropy", "score", 250.0)
    assert row["curves"]["fid"]["fraction"] == [1.0, 0.75, 0.5]
    for key in ("value", "low", "high", "random_value", "random_low", "random_high"):
        assert len(row["curves"]["recall"][key]) == 3
    assert set(row["gains"]) == set(row["bins"]) == {"fid", "precision", "recall", "density", "coverage"}
    assert len(row["bins"]["fid"]["centre"]) == len(row["bins"]["fid"]["value"]) == 4
    assert set(row["per_class_gains"]["fid"]) == set(row["bins"]["fid"]["spearman"]) == {"value", "low", "high"}
    assert [(entry["target"], entry["statistic"]) for entry in row["correlations"]] == [
        (target, statistic)
        for target in ("confidence", "membership")
        for statistic in ("spearman", "kendall", "partial_spearman")
    ]
    assert row["correlations"][0]["n"] == row["auroc"]["n"] == COUNT
    assert row["auroc"]["positives"] == BAD.sum()
    assert set(row["within_classes"]) == {"value", "low", "high"}
    assert row["adds"]["controls"] == ["complexity"] and row["adds"]["by_class"] is True
    assert row["notes"] == []


def test_progress_runs_to_its_end():
    assert [done for done, _, _ in STEPS] == [1, 2, 3]
    assert STEPS[-1][:2] == (3, 3)


def test_processes_share_the_scores_and_have_the_same_rows(monkeypatch: pytest.MonkeyPatch):
    """Each evaluates its own; what all have together is what one evaluates alone."""
    of_all: dict[str, ScoreEntry] = {}
    for rank in (1, 0):
        monkeypatch.setattr(collectives, "rank_and_count", lambda rank=rank: (rank, 2))
        monkeypatch.setattr(collectives, "gathered", lambda own: of_all.update(own) or dict.fromkeys(SCORES) | of_all)
        before = len(of_all)
        found = evaluate_scores(SCORES, torch.from_numpy(FAKE), REAL, FACTS, SETTINGS, together=True)
        assert len(of_all) == before + 1
    assert found == ROWS


def test_the_planted_score_is_found_and_the_control_is_not():
    planted, control = ROWS
    assert planted.auroc.low > 0.7
    assert planted.gains["fid"].low > 0
    assert planted.ause.value < control.ause.value
    assert control.auroc.low < 0.5 < control.auroc.high


def test_each_score_is_held_against_the_controls_but_chance_and_itself():
    scores = {
        **SCORES,
        "random": ScoredSamples(NOISE, "Random", "control"),
        "jitter": ScoredSamples(NOISE**2, "Jitter", "control"),
        "lid": ScoredSamples(NOISE**3, "LID", "baseline"),
        "variance": ScoredSamples(np.abs(NOISE), "Variance", "baseline"),
    }
    rows = {row.name: row for row in evaluate_scores(scores, FAKE, REAL, FACTS, SETTINGS)}
    assert set(rows["entropy"].adds.controls) == set(rows["variance"].adds.controls) == {"complexity", "jitter", "lid"}
    assert set(rows["lid"].adds.controls) == {"complexity", "jitter"}
    assert set(rows["complexity"].adds.controls) == {"jitter", "lid"}
    assert rows["entropy"].adds.low > 0.1 and rows["entropy"].adds.p < 1e-6
    assert rows["entropy"].within_classes.value > 0.8


def test_each_fault_is_told_from_the_samples_without_any():
    """By scikit-learn on those two alone; what is left out counts neither as bad nor as good."""
    broken, rule, score = np.arange(COUNT) % 4 == 0, np.arange(COUNT) % 4 == 1, BAD + 0.4 * NOISE
    facts = SampleFacts(bad=broken, left_out=rule, faults={"broken": broken, "rule_broken": rule, "torn": 0 * rule})
    row = evaluate_scores({"entropy": SCORES["entropy"]}, FAKE, REAL, facts, SETTINGS)[0]
    valid = ~(broken | rule)
    for name, fault in (("broken", broken), ("rule_broken", rule)):
        kept = fault | valid
        found = row.detections[name]
        assert found.value == pytest.approx(roc_auc_score(fault[kept], score[kept]), abs=1e-12)
        assert (found.positives, found.n) == (40, 120)
    assert row.auroc == row.detections["broken"] and set(row.detections) == {"broken", "rule_broken"}
    assert row.notes == ["No AUROC of torn: none of the 80 samples are bad."]
    assert ROWS[0].detections == {}


def test_what_cannot_be_computed_is_none_and_noted():
    facts = SampleFacts(targets={"membership": np.ones(COUNT)}, bad=np.zeros(COUNT), complexity=COMPLEXITY)
    row = evaluate_scores({"complexity": SCORES["complexity"]}, FAKE, REAL, facts, SETTINGS)[0]
    assert row.auroc is None
    assert row.ause is None
    assert row.per_class_gains is None
    assert row.within_classes is None and row.adds is None
    assert row.correlations == []
    assert "No AUROC: none of the 160 samples are bad." in row.notes
    assert any("partial_spearman with membership" in note for note in row.notes)


def test_few_samples_get_fewer_bins_and_nothing_known_is_no_obstacle():
    settings = EvaluationSettings(k=3, fractions=(1.0, 0.5), bins=8, bootstrap=10, half_samples=3, random_repeats=3)
    row = evaluate_scores({"entropy": ScoredSamples(NOISE[:40], "Entropy")}, FAKE[:40], REAL, settings=settings)[0]
    assert len(row.bins["fid"].value) == 4
    assert row.notes == ["4 bins, not 8: too few samples for more."]
    assert row.auroc is None


def test_bad_input_is_refused_before_any_work():
    def evaluate(values=NOISE, kind="score", facts=FACTS, fake=FAKE):
        evaluate_scores({"entropy": ScoredSamples(values, "Entropy", kind)}, fake, REAL, facts, SETTINGS)

    with pytest.raises(NonFiniteError, match="score 'entropy'' is NaN for 160"):
        evaluate(values=NOISE * np.nan)
    with pytest.raises(DataError, match="each of 160 samples"):
        evaluate(values=NOISE[:-1])
    with pytest.raises(DataError, match="'complexity' must be"):
        evaluate(facts=SampleFacts(complexity=COMPLEXITY[:-1]))
    with pytest.raises(ConfigurationError, match="Did you mean 'control'"):
        evaluate(kind="contrl")
    with pytest.raises(DataError, match="too few to judge"):
        evaluate(values=NOISE[:10], facts=None, fake=FAKE[:10])
    with pytest.raises(ConfigurationError, match=r"metric\.k = 0"):
        EvaluationSettings(k=0)


def test_the_encoder_that_scores_may_not_judge():
    assert check_independence("clip", "dino") is None
    assert check_independence(None, "clip") is None
    with pytest.raises(ConfigurationError, match=r"'clip' both scores and judges.*metric\.extractor"):
        check_independence("CLIP ", "clip")
    assert "do not compare" in check_independence("clip", "clip", allow=True)


def test_the_judges_entry_of_the_results():
    label = MetricLabel("classifier", dimension=64, k=5, samples=60, reference=5000)
    found = describe_judge(label, "efficientnet_lite0", real_test_accuracy=0.9, sample_accuracy=0.88)
    assert found.independent is True
    assert found.warnings == label.warnings() != []
    assert (found.extractor, found.samples, found.real_test_accuracy) == ("classifier", 60, 0.9)
    shared = describe_judge(label, "classifier", allow_shared=True)
    assert shared.independent is False
    assert len(shared.warnings) == 2


@pytest.mark.parametrize("metrics", [("fid", "precision", "recall"), ("precision",)])
def test_no_pair_of_samples_is_measured_twice(metrics: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    source = torch.Generator().manual_seed(0)
    real, fake = torch.randn(90, 4, generator=source), torch.randn(60, 4, generator=source)
    settings = EvaluationSettings(metrics=metrics, half_samples=3, random_repeats=2, bootstrap=20, k=3, bins=2)
    scores = {"entropy": ScoredSamples(np.random.default_rng(0).normal(size=60), "Entropy")}
    alone = evaluate_scores(scores, fake, real, SampleFacts(), settings)
    known = neighbourhood_for(settings, real, fake)
    assert (known.fellows is not None) is ("recall" in metrics)
    for module in (manifold, neighbours):
        monkeypatch.setattr(module, "pair_tiles", None)
    monkeypatch.setattr(neighbours, "nearest_others", None)
    found = evaluate_scores(scores, fake, real, SampleFacts(), settings, neighbourhood=known)
    assert found == alone
