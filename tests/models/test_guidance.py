"""Branches and their combination: the formulas, and which of them are affine."""

from __future__ import annotations

import pytest
import torch

from genuq.models import CLASSIFIER_FREE
from genuq.models.guidance import Guidance, renormalised, weighted

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
