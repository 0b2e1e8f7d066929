"""What families share: packing, the shift of the grid, precision, a head that sees the image alone."""

from __future__ import annotations

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import nn

from genuq.pretrained.family import _cast, at_positions, dtype_of, dynamic_shift, even_sigmas, packed, unpacked


def test_packing_is_diffusers_own() -> None:
    x = torch.randn(2, 4, 6, 8)
    assert torch.equal(packed(x), FluxPipeline._pack_latents(x, 2, 4, 6, 8))
    assert torch.equal(unpacked(packed(x), 6, 8), x)


@pytest.mark.parametrize("tokens", [4, 256, 4096])
def test_the_shift_is_diffusers_own(tokens: int) -> None:
    assert dynamic_shift(FlowMatchEulerDiscreteScheduler(), tokens) == pytest.approx(calculate_shift(tokens), rel=1e-12)


def test_even_sigmas_end_above_nought() -> None:
    assert even_sigmas(4) == [1.0, 0.75, 0.5, 0.25]


def test_rows_are_cast_and_masks_are_not() -> None:
    found = _cast({"text": [torch.ones(2)], "mask": torch.ones(2, dtype=torch.bool), "n": 3}, torch.float64)
    assert found["text"][0].dtype == torch.float64 and found["mask"].dtype == torch.bool and found["n"] == 3


def test_the_precision_is_read_off_the_parameters() -> None:
    assert dtype_of(nn.Linear(2, 2).to(torch.bfloat16)) == torch.bfloat16


def test_a_head_at_positions_sees_and_gives_these_alone() -> None:
    head, tokens, positions = nn.Linear(3, 2), torch.randn(2, 5, 3), torch.tensor([[1, 2], [3, 4]])
    seen: list[torch.Tensor] = []
    head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    whole = head(tokens)
    with at_positions(head, positions):
        found = head(tokens)
    assert torch.equal(seen[-1], torch.stack([tokens[0, 1:3], tokens[1, 3:5]]))
    expected = torch.zeros_like(whole)
    expected[0, 1:3], expected[1, 3:5] = whole[0, 1:3], whole[1, 3:5]
    torch.testing.assert_close(found, expected)
    assert torch.equal(head(tokens), whole), "nothing of it stays"
