"""Posteriors over several layers: sums, draws and sizes by layer, on the simplest family there is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.posteriors import Scale
from genuq.posteriors.curvature import layers
from genuq.posteriors.curvature.layers import LayersPosterior, qualified, require_proper
from genuq.randomness import WEIGHTS, generator


class Round(LayersPosterior):
    """One number a layer for its curvature: the sum of the squared gradients at its outputs."""

    kind = "round"

    def empty(self) -> dict[str, Tensor]:
        return {name: torch.zeros((), dtype=torch.float64) for name in self.heads}

    def statistics(self, name: str, features: Tensor, gradients: Tensor) -> dict[str, Tensor]:
        return {name: gradients.square().sum() / len(gradients)}

    def curvature_trace(self, name: str) -> float:
        return float(self.sums()[name])

    def squared_norm(self, name: str, gradients_BOK: Tensor, ridge: float) -> float:
        return float(gradients_BOK.square().sum()) / (self.curvature_trace(name) + ridge)

    def spectrum(self) -> list[tuple[Tensor, float]]:
        return [(torch.tensor([self.curvature_trace(name)]), 1.0) for name in self.heads]

    def factorise(self, scale: Scale) -> None:
        self.size = {n: self.weight(scale) * self.curvature_trace(n) + scale.prior_precision for n in self.heads}

    def deviation(self, name: str, normal_OK: Tensor) -> Tensor:
        return normal_OK / self.size[name] ** 0.5

    def variance(self, name: str) -> Tensor:
        return torch.full_like(self.means[name], 1 / self.size[name])


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(32, 3, bias=False))


def batch(images: int = 5, seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs and gradients at the outputs of both layers."""
    source = torch.Generator().manual_seed(seed)
    shapes = {"0": ((1, 4, 4), (2, 4, 4)), "2": ((32,), (3,))}
    inputs = {name: torch.randn(images, *read, generator=source) for name, (read, _) in shapes.items()}
    return inputs, {name: torch.randn(images, *written, generator=source) for name, (_, written) in shapes.items()}


def fitted(network: nn.Module | None = None) -> Round:
    posterior = Round(network or globals()["network"]())
    posterior.update(*batch())
    return posterior.finalise(Scale(5.0, 1.0, 4.0))


def test_it_covers_weights_and_biases_of_its_layers_by_name() -> None:
    posterior = Round(network())
    assert posterior.layer_names == ["0", "2"] and posterior.moved() == 2 * (9 + 1) + 3 * 32
    assert list(posterior.covered()) == ["0.weight", "0.bias", "2.weight"]
    assert qualified("", "weight") == "weight"


@pytest.mark.parametrize("at_once", [1, 2**24])
def test_sums_do_not_depend_on_how_many_images_are_taken_at_once(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "VALUES_AT_ONCE", at_once)
    posterior, (inputs, gradients) = Round(network()), batch()
    posterior.update(inputs, gradients)
    for name, value in posterior.sums().items():
        assert float(value) == pytest.approx(float(gradients[name].double().square().sum()))
    assert posterior.n_seen == 5
    traces = sum(float(one.double().square().sum()) for one in gradients.values())
    assert posterior.mean_eigenvalue() == pytest.approx(traces / posterior.moved())


def test_several_draws_of_the_gradients_are_averaged() -> None:
    inputs, gradients = batch()
    posterior = Round(network())
    posterior.update(inputs, {name: torch.stack([value, 3 * value]) for name, value in gradients.items()})
    assert float(posterior.sums()["2"]) == pytest.approx(5 * float(gradients["2"].double().square().sum()))
    with pytest.raises(ConfigurationError, match="posterior 'round' needs the output gradients"):
        posterior.update(inputs)


def test_a_draw_is_the_trained_weights_and_the_layers_own_normal_numbers() -> None:
    made = network()
    posterior = fitted(made)
    drawn, conv = posterior.draw(7, seed=3), made[0]
    normal = torch.randn(2, 10, generator=generator(3, 7, f"{WEIGHTS}, 0"), dtype=torch.float64)
    moved = normal / (posterior.curvature_trace("0") + 4.0) ** 0.5  # n_effective = n_seen, and noise 1
    torch.testing.assert_close(drawn["0.weight"], conv.weight + moved[:, :9].reshape(2, 1, 3, 3).float())
    torch.testing.assert_close(drawn["0.bias"], conv.bias + moved[:, 9].float())
    alone = Round(made, "0")
    alone.restore({"0": posterior.sums()["0"]}, 5)
    assert torch.equal(alone.finalise(Scale(5.0, 1.0, 4.0)).draw(7, seed=3)["0.weight"], drawn["0.weight"])


def test_sizes_are_means_of_the_variances() -> None:
    posterior = fitted()
    variance = {name: 1 / (posterior.curvature_trace(name) + 4.0) for name in ("0", "2")}
    assert posterior.squared_deviations() == pytest.approx(
        {"0.weight": variance["0"], "0.bias": variance["0"], "2.weight": variance["2"]}
    )
    assert posterior.mean_variance() == pytest.approx((20 * variance["0"] + 96 * variance["2"]) / 116)


def test_the_norm_of_gradients_is_summed_over_layers() -> None:
    posterior, (inputs, gradients) = fitted(), batch(seed=1)
    expected = 0.0
    for name, layer in (("0", network()[0]), ("2", network()[2])):
        for image in range(5):
            layer.zero_grad()
            layer(inputs[name][image][None]).backward(gradients[name][image][None])
            norm = sum(float(parameter.grad.double().square().sum()) for parameter in layer.parameters())
            expected += norm / (posterior.curvature_trace(name) + 0.5)
    assert posterior.mahalanobis(inputs, gradients, 0.5) == pytest.approx(expected, rel=1e-5)


def test_layers_that_no_gradient_reached_are_told() -> None:
    inputs, gradients = batch()
    posterior = Round(network())
    posterior.update(inputs, gradients | {"0": 1e-12 * gradients["0"]})
    assert posterior.layers_without_curvature() == ["0"]


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_a_precision_that_cannot_be_is_refused_by_its_layer(value: float) -> None:
    require_proper(torch.ones(2), "a.b", Scale(1.0, 1.0, 1.0))
    with pytest.raises(ConfigurationError, match=r"layer 'a\.b' is not positive and finite"):
        require_proper(torch.tensor([1.0, value]), "a.b", Scale(1.0, 1.0, 1.0))
