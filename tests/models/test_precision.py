"""Networks in half precision: what is cast, what stays float32, and how near to float32 samples and scores come."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

import genuq
from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, Sampler, sample_latents
from genuq.models.precision import CastingLayer, cast, casting_class
from genuq.networks import MLP, DiT, UNet
from genuq.posteriors import NetworkNoise, Scale, drawn_in, swapped
from genuq.propagators import Coherent, Corrected, Propagator, Trajectory, propagate
from genuq.scores import regenerate
from support.stirred import stirred

HALVES = ("bfloat16", "float16")
ROUNDING = {"bfloat16": 2**-8, "float16": 2**-11}


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def networks() -> dict[str, GenerativeModel]:
    torch.manual_seed(0)
    return {
        "mlp": GenerativeModel(stirred(MLP((2,), width=16, depth=2, num_classes=3)), (2,), num_classes=3),
        "unet": GenerativeModel(stirred(UNet((1, 8, 8), channels=(8, 16), num_classes=3)), (1, 8, 8), num_classes=3),
        "dit": GenerativeModel(stirred(DiT((1, 8, 8), width=16, depth=2)), (1, 8, 8), process="variance_preserving"),
    }


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("name", ["mlp", "unet", "dit"])
def test_genuqs_own_networks_are_as_near_as_the_rounding_lets_them(name: str, precision: str) -> None:
    model = networks()[name].eval()
    half = model.half_precision(precision)
    x, t_B = torch.randn(6, *model.latent_shape), torch.linspace(0.1, 0.9, 6)
    y_B = torch.arange(6) % 3 if model.num_classes else None
    with torch.no_grad():
        expected, found = model(x, t_B, y_B), half(x, t_B, y_B)
    assert found.dtype == torch.float32 and 0 < relative(found, expected) < 16 * ROUNDING[precision]
    assert all(value.dtype == torch.float32 for value in model.parameters()) and type(half) is type(model)


def test_layers_that_multiply_are_half_and_the_head_is_the_models_own() -> None:
    model = networks()["unet"].eval()
    half = model.half_precision("bfloat16")
    shared = {id(value) for value in model.parameters()} & {id(value) for value in half.parameters()}
    assert shared == {id(value) for value in model.head.parameters()}
    kinds = {name: value.dtype for name, value in half.network.named_parameters()}
    assert kinds.pop("head.weight") == kinds.pop("head.bias") == torch.float32
    assert set(kinds.values()) == {torch.bfloat16}
    assert half.network.condition.time[0].frequencies.dtype == torch.float32
    assert half.process is model.process and half.autoencoder is model.autoencoder


def test_a_draw_of_the_head_is_swapped_into_both() -> None:
    model = networks()["mlp"].eval()
    half = model.half_precision("bfloat16")
    drawn = {name: value + 1e-4 * torch.randn_like(value) for name, value in model.head.named_parameters()}
    x, t_B, y_B = torch.randn(4, 2), torch.full((4,), 0.5), torch.zeros(4, dtype=torch.long)
    seen: list[Tensor] = []
    handle = half.head.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        before = half(x, t_B, y_B)
        with swapped(model.head, drawn):
            after = half(x, t_B, y_B)
    handle.remove()
    deviation = {name: drawn[name].double() - value.double() for name, value in model.head.named_parameters()}
    expected = seen[0].double() @ deviation["weight"].T + deviation["bias"]
    torch.testing.assert_close((after - before).double(), expected, rtol=1e-2, atol=1e-6)  # not rounded to 2^-8


def test_layers_that_a_posterior_of_the_whole_network_draws_stay_float32() -> None:
    model = networks()["dit"].eval()
    noise = NetworkNoise(model.network).finalise(Scale(1, 1.0, prior_precision=1e6))
    half = model.half_precision("bfloat16", *drawn_in("bfloat16", [noise]))
    noise.require_weights_of(half)
    with pytest.raises(ConfigurationError, match=r"another model: .*half_precision\(precision, \*genuq"):
        noise.require_weights_of(model.half_precision("bfloat16"))
    sampler = Sampler(steps=2)
    with swapped(noise.module, noise.draw(0)):
        found, expected = (sample_latents(one, sampler, [0, 1]) for one in (half, model))
    assert relative(found, expected) < 0.02
    assert relative(found, sample_latents(half, sampler, [0, 1])) > 1e-5


def test_draws_of_a_whole_network_may_be_rounded_as_a_network_with_these_weights_is() -> None:
    model = networks()["unet"].eval()
    weights = {name: value.detach().clone() for name, value in model.network.named_parameters()}
    half = model.half_precision("bfloat16", rounded=model.network.parameters())
    assert {value.dtype for name, value in half.network.named_parameters() if "head" not in name} == {torch.bfloat16}
    x, t_B, y_B = torch.randn(3, *model.latent_shape), torch.full((3,), 0.5), torch.arange(3) % 3

    def expected(values: dict[str, Tensor]) -> Tensor:
        other = networks()["unet"].eval()
        other.network.load_state_dict(values)
        return other.half_precision("bfloat16")(x, t_B, y_B)

    with torch.no_grad():
        before, found = half(x, t_B, y_B), []
        for scale in (0.1, 0.2):  # the second may lie where the first one was
            drawn = {name: value + scale * torch.randn_like(value) for name, value in weights.items()}
            with swapped(model.network, drawn):
                found.append(half(x, t_B, y_B))
            assert torch.equal(found[-1], expected(drawn))
            del drawn
        assert torch.equal(before, half(x, t_B, y_B)) and not torch.allclose(before, found[0], rtol=0.01)
        for value in model.network.parameters():
            value.mul_(1.1)  # as training does
        assert torch.equal(half(x, t_B, y_B), expected({name: 1.1 * value for name, value in weights.items()}))


def test_layers_that_one_posterior_moves_by_little_stay_float32_whatever_another_does() -> None:
    model = networks()["dit"].eval()
    (kept, first), *_ = model.network.named_parameters()
    half = model.half_precision("bfloat16", [first], model.network.parameters())
    assert half.network.get_parameter(kept) is first and first.dtype == torch.float32
    assert all(value is not first for value in half.followed)
    NetworkNoise(model.network).finalise(Scale(1, 1.0, prior_precision=1.0)).require_weights_of(half)


@functools.cache
def trained() -> GenerativeModel:
    """A network of points on a circle, of more noise on its right."""
    torch.manual_seed(0)
    model = GenerativeModel(MLP((2,), width=64, depth=2), (2,))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(300):
        x0 = points(256)
        x_t, target = model.target(x0, torch.randn_like(x0), t_B := torch.rand(len(x0)))
        optimiser.zero_grad()
        (model(x_t, t_B) - target).square().mean().backward()
        optimiser.step()
    return model.eval()


def points(count: int) -> Tensor:
    angle = 6.2832 * torch.rand(count)
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    return circle + (0.05 + 0.1 * (circle[:, :1] > 0)) * torch.randn(count, 2)


@pytest.mark.parametrize("precision", HALVES)
def test_scores_rank_samples_as_in_float32(precision: str) -> None:
    model = trained()
    posterior = genuq.fit(model, points(600), images=512, held_out=64).posterior
    half = model.half_precision(precision)
    sampler = Sampler(steps=8, batch_size=256)
    samples, scores = [], []
    for one in (model, half):
        samples.append(genuq.sample(one, sampler, range(256)))
        variance = regenerate(one, posterior, sampler, range(256)).double().var(1, correction=0)
        scores.append((variance + 1e-6).log().sum(1))  # the entropy of points
    assert spearmanr(*scores).statistic >= 0.99
    assert 0 < relative(samples[1], samples[0]) < 16 * ROUNDING[precision]


@pytest.mark.parametrize("precision", HALVES)
def test_large_draws_of_all_layers_rank_samples_as_in_float32(precision: str) -> None:
    model = trained()
    noise = NetworkNoise(model.network).finalise(Scale(1, 1.0, prior_precision=400.0))
    fine, rounded = drawn_in(precision, [noise])
    assert not fine and len(rounded) == len(list(model.network.parameters()))
    half, sampler = model.half_precision(precision, fine, rounded), Sampler(steps=8, batch_size=256)
    drawn = [regenerate(one, noise, sampler, range(256)) for one in (model, half)]
    scores = [(one.double().var(1, correction=0) + 1e-6).log().sum(1) for one in drawn]
    assert spearmanr(*scores).statistic >= 0.99 and not torch.equal(*drawn)


@pytest.mark.parametrize("propagator", [Trajectory(), Corrected(probes=2), Coherent(draws=2)])
def test_propagated_variances_are_those_of_float32(propagator: Propagator) -> None:
    model = trained()
    posterior = genuq.fit(model, points(300), images=256, held_out=32).posterior
    half, sampler = model.half_precision("bfloat16"), Sampler(steps=4)
    found, expected = (propagate(one, posterior, sampler, range(8), propagator).variance for one in (half, model))
    assert relative(found, expected) < 0.1


class Theirs(nn.Module):
    """States and times in one vector, random frequencies, weights beside layers, batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.frequencies = Frequencies()
        self.enter, self.norm, self.leave = nn.Linear(2 + 1 + 16, 16), nn.BatchNorm1d(16), nn.Linear(16, 2)
        self.shift = nn.Parameter(torch.randn(16))

    def forward(self, x: Tensor, t: Tensor, y: Any = None) -> Tensor:
        given = torch.cat([x, t[:, None], self.frequencies(t)], 1)
        return self.leave(torch.tanh(self.norm(self.enter(given)) + self.shift))


class Frequencies(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.W = nn.Parameter(30 * torch.randn(8), requires_grad=False)

    def forward(self, t: Tensor) -> Tensor:
        angles = 6.2832 * t[:, None] * self.W
        return torch.cat([angles.sin(), angles.cos()], 1)


def test_a_network_of_the_users_own_takes_float32_times_wherever_it_takes_them() -> None:
    torch.manual_seed(0)
    model = GenerativeModel(Theirs(), (2,)).eval()
    half = model.half_precision("bfloat16")
    x, t_B = torch.randn(64, 2), torch.rand(64)
    with torch.no_grad():
        assert relative(half(x, t_B), model(x, t_B)) < 0.02
        angles = half.network.frequencies(t_B)
    torch.testing.assert_close(angles, model.network.frequencies(t_B).bfloat16(), rtol=0, atol=0)


class Mixing(nn.Module):
    """Multiplies by a weight of its own, in the precision of what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.leave = nn.Parameter(torch.eye(2)), nn.Linear(2, 2)

    def forward(self, x: Tensor, t: Tensor, y: Any = None) -> Tensor:
        return self.leave((x + t[:, None]) @ self.own)


def test_what_cannot_be_had_is_refused_by_name() -> None:
    model = GenerativeModel(nn.Sequential(nn.Linear(2, 2)), (2,))
    with pytest.raises(ConfigurationError, match="'float32' is no half precision: choose bfloat16 or float16"):
        model.half_precision("float32")
    with pytest.raises(ConfigurationError, match=r"sampler\.precision = 'float16'.*'0\.weight'.*is bfloat16.*Leave"):
        GenerativeModel(nn.Sequential(nn.Linear(2, 2)).bfloat16(), (2,)).half_precision("float16")
    with pytest.raises(ConfigurationError, match=r"sampler\.precision = 'bfloat16': Mixing cannot.*precision=float32"):
        GenerativeModel(Mixing(), (2,)).half_precision("bfloat16")


def test_what_is_cast() -> None:
    given = {"a": [torch.ones(1), torch.ones(1, dtype=torch.long)], "b": "text"}
    found = cast(given, torch.float16)
    assert [value.dtype for value in found["a"]] == [torch.float16, torch.long] and found["b"] == "text"
    kind = casting_class(nn.Linear)
    assert kind is casting_class(nn.Linear) and issubclass(kind, CastingLayer) and kind.__name__ == "Linear"
