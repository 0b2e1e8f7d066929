"""Which draws half precision may round."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genuq.models import GenerativeModel, Sampler
from genuq.networks import MLP
from genuq.posteriors import DeepEnsemble, IsotropicNoise, NetworkNoise, Posterior, Scale, drawn_in
from genuq.scores import regenerate


def noise(network: nn.Module, relative: float) -> Posterior:
    made = NetworkNoise(network)
    deviation = relative * made.mean_square() ** 0.5
    return made.finalise(Scale(1, 1.0, prior_precision=deviation**-2))


@pytest.mark.parametrize(("precision", "units"), [("bfloat16", 2**-7), ("float16", 2**-10)])
def test_deviations_of_two_units_in_the_last_place_may_be_rounded(precision: str, units: float) -> None:
    network = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    small, large = (drawn_in(precision, [noise(network, factor * units)]) for factor in (1.9, 2.1))
    assert [len(part) for part in (*small, *large)] == [4, 0, 0, 4]
    assert all(found is own for found, own in zip(large.rounded, network.parameters(), strict=True))


def test_in_float32_none_is_rounded() -> None:
    network = nn.Linear(3, 2)
    assert [len(part) for part in drawn_in("float32", [noise(network, 0.5)])] == [2, 0]


def test_what_any_posterior_moves_by_little_is_not_rounded() -> None:
    network = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    head: Posterior = IsotropicNoise(network[1]).finalise(Scale(1, 1.0, prior_precision=1e8))
    for order in ((noise(network, 0.5), head), (head, noise(network, 0.5))):
        fine, rounded = drawn_in("bfloat16", order)
        assert {id(value) for value in fine} == {id(value) for value in network[1].parameters()}
        assert {id(value) for value in rounded} == {id(value) for value in network[0].parameters()}
    assert drawn_in("bfloat16", []) == ([], []) and torch.finfo(torch.bfloat16).eps == 2**-7


@pytest.mark.parametrize("spread", [0.001, 0.3])
def test_an_ensemble_is_one_of_the_model_in_half_precision(spread: float) -> None:
    torch.manual_seed(0)
    model = GenerativeModel(MLP((2,), width=8, depth=1), (2,)).eval()
    ensemble = DeepEnsemble(model.network)
    for _ in range(5):
        moved = {name: value + spread * value.std() for name, value in model.network.state_dict().items()}
        ensemble.update({name: value + spread * torch.randn_like(value) for name, value in moved.items()})
    ensemble.finalise(Scale(1, 1.0, prior_precision=1.0))
    fine, rounded = drawn_in("bfloat16", [ensemble])
    assert bool(rounded) is (spread == 0.3) and bool(fine) is (spread == 0.001)
    half, sampler = model.half_precision("bfloat16", fine, rounded), Sampler(steps=3)
    found, expected = (regenerate(one, ensemble, sampler, range(4)) for one in (half, model))
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.05)
    assert not torch.allclose(found[:, 0], found[:, 1], rtol=1e-3)
