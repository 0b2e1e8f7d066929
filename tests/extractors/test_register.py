"""The register of extractors: near matches of names and options."""

from __future__ import annotations

import pytest
import torch

from genuq import extractors
from genuq.errors import ConfigurationError


def test_near_matches_of_names_and_options():
    with pytest.raises(ConfigurationError, match="Did you mean 'efficientnet'"):
        extractors.build("eficientnet")
    with pytest.raises(ConfigurationError, match="Did you mean 'image_size'"):
        extractors.build("efficientnet", img_size=64)
    with pytest.raises(ConfigurationError, match="at least 32"):
        extractors.build("efficientnet", image_size=8)
    with pytest.raises(ConfigurationError, match="batch_size"):
        extractors.build("pixels", image_shape=(1, 2, 2)).extract(torch.rand(1, 1, 2, 2), batch_size=0)
