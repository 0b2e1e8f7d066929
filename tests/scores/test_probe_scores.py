"""Scores of finished samples against their formulas read one noising and one set of weights at a time, in float64."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from genuq import scores
from genuq.models import Sampler, sample
from genuq.scores import Probe, Resources, score_together
from support.slow_scores import SlowProbe, drawn, features, posterior_of, rows_of
from support.watched_models import CLASSES, double_model

CASES = {
    "pixels, flow, network": ("pixels", "flow_matching", "flow", "network"),
    "pixels, epsilon, ensemble": ("pixels", "variance_preserving", "epsilon", "ensemble"),
    "latents, v, head": ("latents", "variance_preserving", "v_prediction", "head"),
    "points, sample, ensemble": ("points", "flow_matching", "sample", "ensemble"),
}
SEED, DRAWS, COUNT = 5, 3, 3  # a sample of each class
ALL = {
    "pixel": partial(scores.renoised_disagreement, times=(0.3, 0.1), noisings=2),
    "two members": partial(scores.renoised_disagreement, times=(0.3,), members=2),
    "semantic": partial(scores.renoised_disagreement_semantic, times=(0.3,)),
    "isotropic": partial(scores.renoised_isotropic, times=(0.3,), noisings=2),
    "epistemic": partial(scores.renoised_epistemic, times=(0.3, 0.1)),
    "epistemic, semantic": partial(scores.renoised_epistemic_semantic, times=(0.3,), pairs=3),
    "epistemic, share": partial(scores.renoised_epistemic_share, times=(0.3,), members=2),
    "lid": partial(scores.lid, times=(0.1, 0.3)),
    "self-confidence": partial(scores.self_confidence, times=(0.5, 0.3), noisings=2),
    "margin": partial(scores.class_margin, times=(0.5,), noisings=2),
    "norm": partial(scores.score_norm, times=(0.1,)),
    "null": partial(scores.null_gap, times=(0.3,)),
}


def finished(case: str):
    kind, process, prediction, _ = CASES[case]
    model = double_model(kind, process, prediction)
    return model, sample(model, Sampler(steps=3, seed=SEED), range(COUNT))


def found(case: str, indices, names=tuple(ALL)):
    """(scores together, rows that the network saw)."""
    model, samples = finished(case)
    posterior, noise = posterior_of(CASES[case][3], model), posterior_of("network", model)
    resources = Resources({"draws": posterior, "isotropic": noise}, DRAWS, SEED, embed=features)
    classes = torch.tensor(indices) % CLASSES
    probe = Probe(model, samples[indices].double(), indices, SEED, classes, resources)
    rows = rows_of(model)
    return score_together(probe, {name: ALL[name] for name in names}), rows


def expected(case: str) -> dict[str, list[float]]:
    model, samples = finished(case)
    members = drawn(model, posterior_of(CASES[case][3], model), DRAWS, SEED)
    noise = drawn(model, posterior_of("network", model), DRAWS, SEED)
    slow = [SlowProbe(model, samples[index], index, SEED) for index in range(COUNT)]
    return {
        "pixel": [(one.disagreement(0.3, 2, members) + one.disagreement(0.1, 2, members)) / 2 for one in slow],
        "two members": [one.disagreement(0.3, 4, members[:2]) for one in slow],
        "semantic": [one.disagreement(0.3, 4, members, semantic=True) for one in slow],
        "isotropic": [one.disagreement(0.3, 2, noise) for one in slow],
        "epistemic": [(one.epistemic(0.3, 2, members)[0] + one.epistemic(0.1, 2, members)[0]) / 2 for one in slow],
        "epistemic, semantic": [one.epistemic(0.3, 3, members, semantic=True)[0] for one in slow],
        "epistemic, share": [
            between / total for between, total in (one.epistemic(0.3, 2, members[:2]) for one in slow)
        ],
        "lid": [(one.loss(0.1, 4) + one.loss(0.3, 4)) / 2 for one in slow],
        "self-confidence": [(math.log(one.loss(0.5, 2)) + math.log(one.loss(0.3, 2))) / 2 for one in slow],
        "margin": [one.margin(0.5, 2) for one in slow],
        "norm": [one.norm(0.1, 4) for one in slow],
        "null": [one.null_gap(0.3, 4) for one in slow],
    }


@pytest.mark.parametrize("case", CASES)
def test_each_score_is_its_formula_at_any_batch_size_and_on_shards(case):
    whole = found(case, list(range(COUNT)))[0]
    parts = [found(case, indices)[0] for indices in ([0, 1], [2])]
    for name, values in expected(case).items():
        wanted = torch.tensor(values, dtype=torch.float64)
        assert wanted.abs().min() > 1e-9
        torch.testing.assert_close(whole.values[name], wanted, rtol=1e-6, atol=0)
        torch.testing.assert_close(torch.cat([part.values[name] for part in parts]), wanted, rtol=1e-6, atol=0)


def test_evaluations_are_those_that_a_counting_network_sees():
    """K (1 + M) a time for disagreement, K for what the network alone says, 2 K for the gap, K C for the margin."""
    case = "pixels, flow, network"
    alone = {"pixel": 2 * 2 * 4, "two members": 4 * 3, "semantic": 4 * 4, "isotropic": 2 * 4, "lid": 2 * 4}
    alone |= {"epistemic": 2 * 4 * 3, "epistemic, semantic": 6 * 3, "epistemic, share": 4 * 2}
    alone |= {"self-confidence": 2 * 2, "margin": 2 * CLASSES, "norm": 4, "null": 2 * 4}
    together, rows = found(case, list(range(COUNT)))
    assert {name: cost.evaluations / COUNT for name, cost in together.costs.items()} == alone
    own, drawn_rows, noise, null, others = 4 + 4 + 2, 6 * 3 + 4 * 3, 2 * 3, 4, 2 * (CLASSES - 1)
    assert together.evaluations == sum(rows) == COUNT * (own + drawn_rows + noise + null + others)
    for name, cost in alone.items():
        one, rows = found(case, list(range(COUNT)), [name])
        assert one.evaluations == sum(rows) == one.costs[name].evaluations == COUNT * cost
        assert torch.equal(one.values[name], together.values[name])
        assert together.costs[name].seconds > 0


def test_a_single_class_has_its_loss_as_the_margin():
    class One:
        num_classes, latents = 1, torch.zeros(2, 1)

        def at(self, times, noisings):
            return list(times)

        def residual(self, level, label=0):
            return torch.tensor([0.5, 2.0], dtype=torch.float64)

    assert torch.equal(scores.class_margin(One()), torch.tensor([0.5, 2.0], dtype=torch.float64))
