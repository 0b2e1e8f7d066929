"""How a network arranges the head's outputs, found by probing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genuq.errors import ConfigurationError
from genuq.posteriors.curvature.arrangement import Arrangement


class TestArrangement:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
    def test_follows_shuffles_and_dropped_channels_in_any_precision(self, dtype):
        torch.manual_seed(0)
        head = nn.Conv2d(3, 16, 3, padding=1).to(dtype)
        x = torch.randn(1, 3, 12, 12, dtype=dtype)

        def behind(output):
            return nn.functional.pixel_shuffle(output, 2)[:, [2, 0]].flip(-1)

        arrangement = Arrangement(head, head(x), lambda: behind(head(x)))
        values = torch.randn(5, 16, 12, 12, dtype=torch.float64)
        assert torch.equal(arrangement(values), behind(values))
        assert arrangement.passes == {torch.float16: 4, torch.bfloat16: 4}.get(dtype, 3)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("finer_behind", [True, False])
    def test_head_and_prediction_may_be_of_two_precisions(self, dtype, finer_behind):
        """A half-precision network that ends in `.float()`, and a head kept in float32 in front of one."""
        torch.manual_seed(0)
        before, after = (dtype, torch.float32) if finer_behind else (torch.float32, dtype)
        head = nn.Conv2d(3, 16, 3, padding=1).to(before)
        x = torch.randn(1, 3, 12, 12, dtype=before)

        def behind(output):
            return nn.functional.pixel_shuffle(output, 2).flip(-1)

        arrangement = Arrangement(head, head(x), lambda: behind(head(x)).to(after))
        values = torch.randn(5, 16, 12, 12, dtype=torch.float64)
        assert torch.equal(arrangement(values), behind(values))

    @pytest.mark.parametrize("behind", [lambda f: 2 * f, lambda f: f.mean(1, keepdim=True), torch.tanh])
    def test_refuses_anything_else(self, behind):
        head = nn.Conv2d(1, 2, 1)
        x = torch.randn(1, 1, 4, 4)
        with pytest.raises(ConfigurationError, match=r"not a mere rearrangement"):
            Arrangement(head, head(x), lambda: behind(head(x)))
