"""The last weighted layer is the head, unless another is named."""

from __future__ import annotations

import pytest
from torch import nn

from genuq.errors import ConfigurationError
from genuq.models import find_head, head_candidates


class Foreign(nn.Module):
    def __init__(self):
        super().__init__()
        self.entry, self.norm = nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4)
        self.final_projection = nn.Conv2d(4, 2, 3, padding=1)
        self.spare = nn.Linear(2, 2)


def test_the_last_weighted_layer_unless_named():
    assert head_candidates(Foreign()) == ["entry", "final_projection", "spare"]
    assert find_head(Foreign(), None) == "spare"
    assert find_head(Foreign(), "final_projection") == "final_projection"


@pytest.mark.parametrize("wrong", ["final_projectoin", "norm"])
def test_another_name_lists_the_candidates(wrong):
    with pytest.raises(ConfigurationError, match=rf"model.head = '{wrong}'.*entry, final_projection, spare"):
        find_head(Foreign(), wrong)
    with pytest.raises(ConfigurationError, match="Did you mean 'final_projection'"):
        find_head(Foreign(), "final_projectoin")


def test_nothing_to_hold_a_posterior():
    with pytest.raises(ConfigurationError, match="Sequential has no Conv2d or Linear layer"):
        find_head(nn.Sequential(nn.BatchNorm2d(2)), None)
