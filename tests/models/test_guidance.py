"""Branches and their combination: the formulas, and which of them are affine."""

from __future__ import annotations

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch import nn

import genuq
from genuq.models import CLASSIFIER_FREE
from genuq.models.guidance import Guidance, by_classifier, renormalised, weighted
from genuq.processes import FlowMatching

T = torch.full((2,), 0.5)


def parts(count: int = 2) -> list[torch.Tensor]:
    return [torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(place)) for place in range(count)]


@pytest.mark.parametrize("scale", [0.0, 0.4, 3.0, 7.5])
def test_classifier_free_is_bit_for_bit_an_interpolation(scale: float) -> None:
    null, own = parts()
    assert torch.equal(CLASSIFIER_FREE([null, own], scale, T), torch.lerp(null, own, scale))


def test_three_branches_add_up() -> None:
    a, b, c = parts(3)
    torch.testing.assert_close(weighted([a, b, c], [-2.0, 5.0, -2.0]), -2 * a + 5 * b - 2 * c)


def test_weights_may_depend_on_the_time() -> None:
    early = Guidance("early", lambda scale, t_B: (1 - scale, scale) if float(t_B[0]) > 0.6 else (0.0, 1.0))
    assert torch.equal(early(parts(), 3.0, T), parts()[1]) and early.affine


def test_renormalised_keeps_the_norm_of_the_prompts_branch() -> None:
    kept = renormalised("kept")
    null, own = parts()
    found, plain = kept([null, own], 3.0, T), null + 3 * (own - null)
    torch.testing.assert_close(found.norm(dim=-1), own.norm(dim=-1))
    torch.testing.assert_close(found / found.norm(dim=-1, keepdim=True), plain / plain.norm(dim=-1, keepdim=True))
    assert not kept.affine


def quadratic(x: torch.Tensor, t_B: torch.Tensor, y_B: torch.Tensor) -> torch.Tensor:
    """log p of three classes around -1, 0 and 1, float64."""
    centres = torch.tensor([-1.0, 0.0, 1.0], dtype=x.dtype)
    logits = -((x.flatten(1)[:, None] - centres[None, :, None]).square()).sum(-1) * (1 + t_B)[:, None].to(x)
    return logits.log_softmax(1).gather(1, y_B[:, None])[:, 0]


def classified() -> tuple[genuq.GenerativeModel, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A model whose prediction is three times its state, guided by a classifier."""
    network = nn.Conv2d(1, 1, 1, bias=False).double()
    nn.init.constant_(network.weight, 3.0)
    guided = by_classifier(quadratic, FlowMatching())
    model = genuq.GenerativeModel(
        network, (1, 2, 2), "flow_matching", "epsilon", 3, call=lambda net, x, t_B, y_B: net(x), guidance=guided
    )
    x = torch.randn(2, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model, x, torch.tensor([0.3, 0.8], dtype=torch.float64), torch.tensor([0, 2])


def test_a_classifiers_gradient_is_added_scale_less_one_times() -> None:
    model, x, t_B, y_B = classified()
    state = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(quadratic(state, t_B, y_B).sum(), state)
    with torch.no_grad():
        found = model.guided(x, t_B, y_B, 2.5)
        assert torch.equal(model.guided(x, t_B, y_B, 1.0), model.predicted(x, t_B, y_B))
    torch.testing.assert_close(found, 3 * x - 1.5 * t_B[:, None, None, None] * gradient)
    assert model.branches(2.5) == 1 and model.require_guidance(2.5).affine


def test_it_is_classifier_free_guidance_by_the_classifier_that_a_network_implies() -> None:
    """eps(y) = eps - sigma grad log p(y | x): what is added to the own branch is the same."""
    model, x, t_B, y_B = classified()
    state, sigma = x.clone().requires_grad_(), t_B[:, None, None, None]
    (gradient,) = torch.autograd.grad(quadratic(state, t_B, y_B).sum(), state)
    null, own = 3 * x + sigma * gradient, 3 * x
    torch.testing.assert_close(model.guided(x, t_B, y_B, 4.0).detach(), CLASSIFIER_FREE([null, own], 4.0, t_B))


def test_whoever_differentiates_the_prediction_differentiates_the_classifier_too() -> None:
    model, x, t_B, y_B = classified()
    direction, step = torch.ones_like(x), 1e-6

    def guided(state: torch.Tensor) -> torch.Tensor:
        return model.guided(state, t_B, y_B, 2.5)

    with torch.no_grad():
        expected = (guided(x + step * direction) - guided(x - step * direction)) / (2 * step)
    with forward_ad.dual_level(), torch.no_grad():
        _, tangent = forward_ad.unpack_dual(guided(forward_ad.make_dual(x, direction)))
    torch.testing.assert_close(tangent, expected, rtol=1e-6, atol=1e-6)
    state = x.clone().requires_grad_()
    (back,) = torch.autograd.grad(guided(state).sum(), state)
    torch.testing.assert_close(back, expected, rtol=1e-6, atol=1e-6)  # symmetric: a Hessian and a multiple of one
