"""torch.compile around a model or within it: what is found, and what is said."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel
from genuq.models.compiled import compiled_part, original, require_uncompiled


def test_the_module_within_is_found() -> None:
    plain = nn.Linear(2, 2)
    assert original(plain) is plain
    assert original(torch.compile(plain)) is plain
    assert GenerativeModel(torch.compile(plain), (2,)).network is plain


def test_the_first_compiled_part_is_named() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert compiled_part(network) is None
    network[1].compile()
    assert compiled_part(network) == "1" and compiled_part(network[1]) == ""
    with pytest.raises(ConfigurationError, match=r"the model: 1 is compiled.*`_orig_mod`.*`\.compile\(\)`"):
        require_uncompiled(network)
    with pytest.raises(ConfigurationError, match="my layer: it is compiled"):
        require_uncompiled(network[1], "my layer")
