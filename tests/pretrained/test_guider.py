"""A guider's scale is genuq's, and every other guider or setting is refused by name."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.models import CLASSIFIER_FREE
from genuq.pretrained.guider import scale_of

PLAIN = diffusers.ClassifierFreeGuidance


@pytest.mark.parametrize("original", [False, True])
def test_the_guided_prediction_is_the_guiders(original: bool) -> None:
    guider = PLAIN(guidance_scale=3.0, use_original_formulation=original)
    own, null = torch.randn(2, 5, dtype=torch.float64)
    scale = scale_of(guider, "")
    assert scale == (4.0 if original else 3.0)
    torch.testing.assert_close(CLASSIFIER_FREE([null, own], scale, torch.zeros(1)), guider.forward(own, null).pred)


@pytest.mark.parametrize("guider", [None, PLAIN(enabled=False), PLAIN(1.0), PLAIN(0.0, use_original_formulation=True)])
def test_none_and_those_that_do_nothing_have_a_scale_of_1(guider: Any) -> None:
    assert scale_of(guider, "") == 1.0


@pytest.mark.parametrize(
    "guider,said",
    [
        (diffusers.AdaptiveProjectedGuidance(), "does not know the guidance of AdaptiveProjectedGuidance"),
        (PLAIN(guidance_rescale=0.5), "guidance_rescale = 0.5, which genuq does not do"),
        (PLAIN(start=0.1), "start = 0.1"),
        (PLAIN(stop=0.5), "stop = 0.5"),
    ],
)
def test_other_guidance_is_refused(guider: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{said}.*Take another"):
        scale_of(guider, "Take another.")
