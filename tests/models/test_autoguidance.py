"""Guidance by a second network: the formula, what it costs, what of it has a posterior, and what cannot guide."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import genuq
from genuq.errors import ConfigurationError
from genuq.models import (
    GenerativeModel,
    Sampler,
    guided_by,
    metered,
    sample,
    sample_latents,
)
from genuq.posteriors import IsotropicNoise, Posterior, Scale, swapped
from genuq.processes import VariancePreserving
from genuq.propagators import Coherent, Trajectory
from genuq.scores.shared.path import recording
from genuq.solvers import DDIM, DDPMLearned

SHAPE, CLASSES = (1, 6, 6), 3


class Small(nn.Module):
    """Told of the class where it knows any."""

    def __init__(self, seed: int, outputs: int = 1) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.head = nn.Conv2d(1, outputs, 3, padding=1)

    def forward(self, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        return self.head(torch.tanh(x + (0.1 * t if y is None else 0.3 * y).reshape(-1, 1, 1, 1)))


def of(seed: int, classes: int = CLASSES, **options) -> GenerativeModel:
    return GenerativeModel(
        Small(seed), SHAPE, "variance_preserving", "v_prediction", classes, guidance=None, **options
    ).eval()


def guided(guide_classes: int = CLASSES, classes: int = CLASSES) -> GenerativeModel:
    return guided_by(of(0, classes), of(1, guide_classes))


@pytest.mark.parametrize("guide_classes", [CLASSES, 0])
@pytest.mark.parametrize("scale", [0.5, 1.7, 3.0])
def test_it_goes_away_from_what_the_second_network_says(scale: float, guide_classes: int) -> None:
    model, x = guided(guide_classes), torch.randn(2, *SHAPE)
    t_B, y_B = torch.full((2,), 0.4), torch.tensor([2, 0])
    own = model.network(x, t_B, y_B)
    other = model.guide.network(x, t_B, y_B if guide_classes else None)
    torch.testing.assert_close(model.guided(x, t_B, y_B, scale), own + (scale - 1) * (own - other))


def test_a_model_that_knows_no_classes_can_be_guided_too() -> None:
    model, x, t_B = guided(0, 0), torch.randn(2, *SHAPE), torch.full((2,), 0.4)
    own, other = (each.network(x, t_B, None) for each in (model, model.guide))
    torch.testing.assert_close(model.guided(x, t_B, None, 2.0), 2 * own - other)
    assert len(sample(model, Sampler(DDIM(), steps=2, guidance_scale=2.0), range(2))) == 2


def test_a_scale_of_one_asks_the_models_own_network_alone() -> None:
    model, sampler = guided(), Sampler(DDIM(), steps=2)
    model.guide.network.register_forward_hook(lambda *given: pytest.fail("asked"))
    assert torch.equal(sample_latents(model, sampler, range(2)), sample_latents(of(0), sampler, range(2)))


def test_each_guided_evaluation_is_a_row_of_either_network() -> None:
    model, sampler = guided(), Sampler(DDIM(), steps=3, guidance_scale=2.0)
    with metered(model) as meter:
        sample_latents(model, sampler, range(4))
    assert sampler.evaluations(model) == 2 * 3 and meter.evaluations["sampling"] == 2 * 3 * 4
    rows = []
    for network in (model.network, model.guide.network):
        network.register_forward_hook(lambda module, given, found: rows.append(len(found)))
    sample_latents(model, sampler, range(4))
    assert sum(rows) == 2 * 3 * 4


def noise(model: GenerativeModel) -> Posterior:
    return IsotropicNoise(model.head).finalise(Scale(1.0, 1.0, 100.0))


@pytest.mark.parametrize("propagator", [Trajectory(), Coherent(64)], ids=lambda how: how.name)
def test_variance_of_one_step_is_that_of_draws_of_the_models_own_network(propagator) -> None:
    """Of one step, which is affine in the head's weights, by regenerations: s^2 times that of the own branch."""
    model, sampler = guided(), Sampler(DDIM(), steps=1, guidance_scale=3.0)
    posterior, before = noise(model), {name: value.clone() for name, value in model.guide.state_dict().items()}
    versions = []
    for draw in range(64):
        with swapped(posterior.module, posterior.draw(draw)):
            versions.append(sample_latents(model, sampler, range(1)))
    expected = torch.stack(versions).double().var(0, correction=0)
    found = genuq.propagate(model, posterior, sampler, range(1), propagator=propagator)
    assert float(expected.mean() / found.variance.mean()) == pytest.approx(1.0, abs=0.1)
    assert found.plain_evaluations == 2
    assert all(torch.equal(value, before[name]) for name, value in model.guide.state_dict().items())


def test_a_path_has_the_answers_of_the_models_own_network() -> None:
    model, sampler = guided(), Sampler(DDIM(), steps=2, guidance_scale=2.0)
    with recording(model, sampler, range(2)) as recorder:
        sample_latents(model, sampler, range(2), observers=[recorder])
    t_B, y_B = torch.full((2,), recorder.times[1]), torch.tensor([0, 1])
    (answer,) = recorder.answers[1].values()
    torch.testing.assert_close(answer, model.network(recorder.states[1], t_B, y_B))
    with pytest.raises(ConfigurationError, match="asked for the null class, which the model was trained without"):
        recorder.path().eps(0, "null")


def test_a_path_passes_over_what_a_network_says_of_its_noise() -> None:
    model = GenerativeModel(
        Small(0, 2), SHAPE, "variance_preserving", "v_prediction", CLASSES, guidance=None, learns_variance=True
    ).eval()
    with recording(model, sampler := Sampler(DDPMLearned(), steps=2), range(2)) as recorder:
        sample_latents(model, sampler, range(2), observers=[recorder])
    assert recorder.path().x0(0).shape == (1, 2, *SHAPE)


def test_half_precision_is_of_both_networks() -> None:
    half = guided().half_precision("bfloat16")
    assert half.guide.network.head.weight.dtype == torch.float32  # its head
    x, t_B, y_B = torch.randn(2, *SHAPE), torch.full((2,), 0.4), torch.tensor([2, 0])
    torch.testing.assert_close(half.guided(x, t_B, y_B, 2.0), guided().guided(x, t_B, y_B, 2.0), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda: of(1, 5), "has classes 5 where the model has 3"),
        (lambda: GenerativeModel(Small(1), SHAPE, "flow_matching", "v_prediction"), "has process FlowMatching"),
        (lambda: GenerativeModel(Small(1), SHAPE, "variance_preserving", "epsilon"), "has prediction epsilon"),
        (lambda: GenerativeModel(Small(1), (1, 8, 8), "variance_preserving", "v_prediction"), r"shape \(1, 8, 8\)"),
        (lambda: GenerativeModel(Small(1), SHAPE, VariancePreserving("cosine"), "v_prediction"), "another schedule"),
    ],
)
def test_a_network_that_cannot_guide_is_named(other, said: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"\(model\.guide\) .*{said}"):
        guided_by(of(0), other())
