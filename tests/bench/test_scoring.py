"""Scores over plain sampling, on a network so small that only what is counted means anything."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from genuq.bench import scoring
from genuq.bench.rows import Row
from genuq.bench.scoring import Job, as_good, beside_regenerations, regenerations, with_the_gap
from genuq.extractors import Pixels
from genuq.models import GenerativeModel, Sampler
from genuq.networks import UNet
from genuq.posteriors import IsotropicNoise, Scale
from genuq.solvers import Euler

SHAPE, SAMPLES, STEPS, DRAWS = (1, 8, 8), 24, 2, 2
HALF_BROKEN = SimpleNamespace(truth=lambda images: SimpleNamespace(of=lambda fault: torch.arange(len(images)) % 2 == 0))


@pytest.fixture(scope="module")
def job() -> Job:
    torch.manual_seed(0)
    model = GenerativeModel(UNet(SHAPE, (4, 8), num_classes=2), SHAPE, num_classes=2).eval()
    torch.nn.init.normal_(model.head.weight, std=0.1)
    posterior = IsotropicNoise(model.head)
    posterior.update(torch.zeros(1, 4, 4, 4))
    posterior.finalise(Scale(n_effective=1, observation_noise=1.0, prior_precision=1e4))
    return Job(model, posterior, DRAWS, Sampler(Euler(), steps=STEPS, batch_size=16), SAMPLES)


def test_scores_of_the_path_cost_a_step_and_regenerations_a_sampling_a_draw(job):
    plain, default, cheap, full = beside_regenerations(job, HALF_BROKEN, rounds=1)
    assert plain.evaluations == SAMPLES * STEPS and cheap.evaluations == SAMPLES * (STEPS + DRAWS)
    assert default.evaluations == SAMPLES * (STEPS + 4) and default.target == 1.25
    assert 0 <= default.values["AUROC"] <= 1
    assert full.evaluations == SAMPLES * STEPS * (1 + DRAWS) and cheap.target == 1.25
    assert 0 <= cheap.values["AUROC"] <= 1 and 0 <= full.values["AUROC"] <= 1
    assert cheap.ratio and full.ratio and plain.ratio is None


def test_the_guidance_gap_asks_for_nothing_that_guided_sampling_did_not(job):
    guided = replace(job, samples=4, sampler=replace(job.sampler, guidance_scale=2.0))
    plain, scored = with_the_gap(guided, rounds=1)
    assert plain.evaluations == scored.evaluations == 4 * STEPS * 2 and scored.target == 1.0
    plain, scored = with_the_gap(replace(job, samples=4, sampler=replace(job.sampler, steps=4)), rounds=1)
    assert (plain.evaluations, scored.evaluations, scored.target) == (4 * 4, 4 * (4 + 2), 1.25)


def test_engines_are_judged_by_the_ranks_of_float32(job, monkeypatch):
    monkeypatch.setattr(scoring, "of_fashion", lambda samples: replace(job, samples=samples))
    monkeypatch.setattr(scoring, "of_glyphs", lambda samples: replace(job, samples=samples))
    monkeypatch.setattr(scoring.extractors, "build", lambda name, **options: Pixels(SHAPE))
    rows = regenerations(6, 1, ["float32", "bfloat16"])
    assert ["head" in row.what for row in rows[1:5]] == ["trainings" in row.what for row in rows[6:]] == [True] * 4
    plain, float32, half, *left_out = rows[:5]
    assert (plain.ratio, float32.values) == (None, {"Spearman": 1.0}) and half.values["Spearman"] > 0.5
    assert float32.evaluations == half.evaluations == 6 * STEPS * (1 + DRAWS)
    assert [row.ratio for row in left_out] == [None, None] and all("--quick" in (row.reason or "") for row in left_out)


def test_a_cheap_score_counts_only_where_it_finds_as_much():
    cheap = Row("path", ratio=1.2, values={"AUROC": 0.70})
    assert as_good(cheap, "its cost", {"AUROC": 0.705}).reason is None
    assert as_good(replace(cheap, ratio=1.4), "its cost", {"AUROC": 0.705}).reason == "its cost"
    assert "below that of regenerations" in (as_good(cheap, "its cost", {"AUROC": 0.75}).reason or "")
    assert "too few" in (as_good(replace(cheap, values={}), "its cost", {}).reason or "")
