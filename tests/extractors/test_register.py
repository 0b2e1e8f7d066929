"""The register of extractors: near matches of names and options."""

from __future__ import annotations

import pytest
import torch

from genuq import extractors
from genuq.errors import ConfigurationError
from genuq.extractors.register import EXTRACTORS, timm_model


def test_near_matches_of_names_and_options():
    with pytest.raises(ConfigurationError, match="Did you mean 'efficientnet'"):
        extractors.build("eficientnet")
    with pytest.raises(ConfigurationError, match="Did you mean 'image_size'"):
        extractors.build("efficientnet", img_size=64)
    with pytest.raises(ConfigurationError, match=r"image_size = 8; it must lie in \[32, 4096\]"):
        extractors.build("efficientnet", image_size=8)
    with pytest.raises(ConfigurationError, match="batch_size"):
        extractors.build("pixels", image_shape=(1, 2, 2)).extract(torch.rand(1, 1, 2, 2), batch_size=0)


def test_a_name_that_only_timm_knows_is_a_part_of_that_model():
    part = EXTRACTORS.get("resnet18.a1_in1k")
    assert (part.name, part.model, part.needs_images) == ("resnet18_a1_in1k", "resnet18.a1_in1k", True)
    assert EXTRACTORS.get("clip").model == "clip"
    assert timm_model("no_such_model") is None
