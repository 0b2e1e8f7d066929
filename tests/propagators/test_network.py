"""The network along a trajectory: the head's input, derivatives as autograd has them, evaluations as counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, Sampler, StageRecord, sample_latents
from genuq.posteriors import IsotropicNoise, NetworkNoise, Scale
from genuq.propagators.derivatives import METHODS
from genuq.propagators.network import FollowedNetwork
from support.posterior_oracles import in_double, network_case, tiny_model

TOLERANCE = {"forward": 1e-9, "difference": 1e-2}
CLASSES = torch.tensor([0, 1])


def watched(network: FollowedNetwork, look: Callable[[StageRecord], None]) -> None:
    """One step of a sampler for two samples; `look` at its stage."""
    model = network.model
    start = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sampler = Sampler(steps=1, guidance_scale=network.guidance, classes=[0, 1] if model.num_classes else None)

    def observe(record: StageRecord) -> None:
        with network.at(record):
            look(record)

    with network.watched(), torch.no_grad():
        sample_latents(model, sampler, range(2), start, [observe])


def followed(guidance: float = 1.0, whole: bool = False) -> FollowedNetwork:
    model, _ = network_case("mlp")
    noise = NetworkNoise(model.network) if whole else IsotropicNoise(model.head)
    return FollowedNetwork(model, noise.finalise(Scale(1.0, 1.0, 1.0)), guidance, CLASSES)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_the_heads_output_for_the_remembered_features_is_the_prediction(guidance: float) -> None:
    network = followed(guidance)

    def look(record: StageRecord) -> None:
        head = network.model.head
        again = nn.functional.linear(network.features, head.weight, head.bias)
        torch.testing.assert_close(again, record.predictions[0], rtol=0, atol=1e-12)
        assert network.evaluations == 0

    watched(network, look)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("method", METHODS)
def test_the_derivative_along_the_state_is_autograds(guidance: float, method: str) -> None:
    network = followed(guidance)

    def look(record: StageRecord) -> None:
        x, t = record.states[0], torch.full((2,), record.stage.t, dtype=torch.float64)
        direction = torch.randn(2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        jacobian = jacrev(lambda x: network.model.guided(x, t, CLASSES, guidance))(x)
        expected = torch.einsum("bicj,cj->bi", jacobian, direction)
        tolerance = TOLERANCE[method] * float(expected.abs().max())
        torch.testing.assert_close(network.along(direction, method), expected, rtol=0, atol=tolerance)
        assert network.evaluations == METHODS[method] * (1 if guidance == 1.0 else 2)

    watched(network, look)


@pytest.mark.parametrize("method", METHODS)
def test_the_derivative_along_state_and_weights_together_is_their_sum(method: str) -> None:
    network = followed(whole=True)

    def look(record: StageRecord) -> None:
        model, x = network.model, record.states[0]
        t = torch.full((2,), record.stage.t, dtype=torch.float64)
        source = torch.Generator().manual_seed(1)
        direction = torch.randn(2, 2, generator=source, dtype=torch.float64)
        trained = {name: value.detach() for name, value in model.network.named_parameters()}
        weights = {n: torch.randn(v.shape, generator=source, dtype=torch.float64) for n, v in trained.items()}

        def moved(step: torch.Tensor) -> torch.Tensor:
            values = {name: value + step * weights[name] for name, value in trained.items()}
            return functional_call(model.network, values, (x + step * direction, t, CLASSES))

        expected = jacrev(moved)(torch.zeros((), dtype=torch.float64))
        found = network.along_with_weights(direction, weights, method)
        torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE[method] * float(expected.abs().max()))

    watched(network, look)


def test_variances_and_deviations_are_those_of_the_head() -> None:
    network = followed()

    def look(record: StageRecord) -> None:
        features, head = network.features, network.model.head
        torch.testing.assert_close(
            network.predictive_variance(), network.posterior.predictive_variance(features).double()
        )
        matrix = torch.randn(2, features.shape[1] + 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        expected = features @ matrix[:, :-1].T + matrix[:, -1]
        torch.testing.assert_close(network.deviation(matrix), expected)
        assert head.weight.shape == (2, features.shape[1])

    watched(network, look)


class Twice(nn.Module):
    """A network whose head runs twice, or never."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times, self.head = times, nn.Linear(2, 2).double()

    def forward(self, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        for _ in range(self.times):
            x = self.head(x)
        return x


@pytest.mark.parametrize(("times", "said"), [(2, "runs more than once"), (0, r"never reached model\.head = 'head'")])
def test_a_head_that_does_not_run_once_is_refused(times: int, said: str) -> None:
    model = GenerativeModel(Twice(times), (2,), call=in_double, head="head")
    network = FollowedNetwork(model, IsotropicNoise(model.head).finalise(Scale(1.0, 1.0, 1.0)), 1.0, None)
    with pytest.raises(ConfigurationError, match=said):
        watched(network, lambda record: network.features)


def test_the_heads_input_is_remembered_as_it_was() -> None:
    """The network may go on in what it gave to the head."""

    class Adding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(2, 2).double()

        def forward(self, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
            h = torch.tanh(x)
            h += self.head(h)
            return h

    torch.manual_seed(0)
    model = GenerativeModel(Adding(), (2,), call=in_double)
    network = FollowedNetwork(model, IsotropicNoise(model.head).finalise(Scale(1.0, 1.0, 1.0)), 1.0, None)
    watched(network, lambda record: torch.testing.assert_close(network.features, torch.tanh(record.states[0])))


def test_nothing_is_watched_afterwards() -> None:
    model = tiny_model()
    network = FollowedNetwork(model, IsotropicNoise(model.head).finalise(Scale(1.0, 1.0, 1.0)), 1.0, None)
    with network.watched():
        pass
    assert not model.head._forward_hooks


def test_independent_branches_add_each_branchs_variance_times_its_weight_squared() -> None:
    """By brute force over the branches' features, asked for one at a time; with one branch it is the plain variance."""
    model, own, null = followed().model, followed(1.0), followed(0.0)

    def variances(network: FollowedNetwork) -> list[torch.Tensor]:
        found: list[torch.Tensor] = []
        watched(
            network,
            lambda record: found.extend([network.variance_of_independent_branches(), network.predictive_variance()]),
        )
        return found

    together, guided = variances(followed(2.5))
    (single, plain), (_, nulls) = variances(own), variances(null)
    assert model.num_classes and torch.equal(single, plain)
    torch.testing.assert_close(together, 1.5**2 * nulls + 2.5**2 * plain, rtol=1e-12, atol=0)
    assert (together > guided).all()
