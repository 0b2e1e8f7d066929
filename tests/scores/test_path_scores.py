"""Scores of the sampler's path against their formulas read one state and one set of weights at a time, in float64."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from genuq import scores
from genuq.models import Sampler, sample
from genuq.scores import Resources
from genuq.scores.baselines import watch
from genuq.scores.baselines.watching import PATH
from genuq.solvers import DDPM, DPMSolverPlusPlus2M, Euler, Heun
from support.slow_scores import SlowPath, drawn, features, posterior_of, rows_of, weak_weights
from support.watched_models import double_model

CASES = {
    "pixels, Euler, flow, network": ("pixels", "flow_matching", "flow", Euler(), "network"),
    "pixels, ancestral, epsilon, ensemble": ("pixels", "variance_preserving", "epsilon", DDPM(), "ensemble"),
    "latents, 2M, v, head": ("latents", "variance_preserving", "v_prediction", DPMSolverPlusPlus2M(), "head"),
    "points, Heun, sample, ensemble": ("points", "flow_matching", "sample", Heun(), "ensemble"),
}
SEED, STEPS, DRAWS, COUNT = 5, 5, 3, 5
ALL = {
    "pixel": partial(scores.path_disagreement, points=(0.25, 1.0)),
    "two members": partial(scores.path_disagreement, points=(1.0,), members=2),
    "semantic": partial(scores.path_disagreement_semantic, points=(0.25,)),
    "gap": partial(scores.guidance_gap, points=(0.5, 0.75)),
    "low gap": partial(scores.guidance_gap_low, points=(0.5,)),
    "weak": partial(scores.weak_model_gap, points=(0.0, 0.5)),
}


def found(case: str, indices, scale: float = 1.0, batch_size: int = 64, names=tuple(ALL), count_rows=None):
    kind, process, prediction, solver, posterior = CASES[case]
    model = double_model(kind, process, prediction)
    sampler = Sampler(solver, steps=STEPS, seed=SEED, guidance_scale=scale, batch_size=batch_size)
    resources = Resources({"draws": posterior_of(posterior, model)}, DRAWS, SEED, weak_weights(model), features)
    rows = rows_of(model)
    watched = watch(model, sampler, indices, {}, None, {name: ALL[name] for name in names}, resources)
    if count_rows is not None:
        count_rows.append(sum(rows) / len(indices))
    return watched, model, sampler


def expected(case: str, scale: float) -> dict[str, list[float]]:
    kind, process, prediction, solver, posterior = CASES[case]
    model = double_model(kind, process, prediction)
    sampler = Sampler(solver, steps=STEPS, seed=SEED, guidance_scale=scale)
    members, weak = drawn(model, posterior_of(posterior, model), DRAWS, SEED), weak_weights(model)
    slow = [SlowPath(model, sampler, index) for index in range(COUNT)]
    return {
        "pixel": [path.disagreement([1, 4], members) for path in slow],
        "two members": [path.disagreement([4], members[:2]) for path in slow],
        "semantic": [path.disagreement([1], members, semantic=True) for path in slow],
        "gap": [path.guidance_gap([2, 3]) for path in slow],
        "low gap": [-path.guidance_gap([2]) for path in slow],
        "weak": [path.weak_gap([0, 2], weak) for path in slow],
    }


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("case", CASES)
def test_each_score_is_its_formula_at_any_batch_size_and_on_shards(case, scale):
    wanted = {name: torch.tensor(values, dtype=torch.float64) for name, values in expected(case, scale).items()}
    whole, model, sampler = found(case, range(COUNT), scale)
    one_by_one = found(case, range(COUNT), scale, batch_size=1)[0]
    shards = [found(case, indices, scale, batch_size=2)[0] for indices in ([3, 4], [0, 1, 2])]
    for name, values in wanted.items():
        assert values.abs().max() > 1e-9  # where x0_hat is clamped everywhere, features are all the same
        for made in (whole.scores[name], one_by_one.scores[name]):
            torch.testing.assert_close(made, values, rtol=1e-6, atol=1e-12)
        parts = torch.cat([shard.scores[name] for shard in reversed(shards)])
        torch.testing.assert_close(parts, values, rtol=1e-6, atol=1e-12)
    assert torch.equal(whole.samples, sample(model, sampler, range(COUNT)))


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_evaluations_are_those_that_a_counting_network_sees(scale):
    """Alone each score takes M a point, the gap one where nobody guides; together no prediction is made twice."""
    case, rows = "pixels, Euler, flow, network", []
    together = found(case, range(COUNT), scale, 2, count_rows=rows)[0]
    null = 1 if scale == 1.0 else 0
    alone = {"pixel": 2 * 3, "two members": 2, "semantic": 3, "gap": 2 * null, "low gap": null, "weak": 2}
    assert {name: together.evaluations[name] for name in alone} == alone
    assert together.evaluations[PATH] == 2 * 3 + 2 * null + 2
    assert rows == [together.evaluations["sampling"] + together.evaluations[PATH]]
    for name, cost in alone.items():
        one = found(case, range(COUNT), scale, 2, [name], rows)[0]
        assert one.evaluations[PATH] == one.evaluations[name] == cost
        assert rows[-1] == one.evaluations["sampling"] + cost
        assert torch.equal(one.scores[name], together.scores[name])
        assert together.seconds[name] > 0
