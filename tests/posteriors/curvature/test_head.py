"""Heads that can hold a posterior, and those that cannot."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel
from genuq.posteriors import fit, swapped
from support.posterior_oracles import (
    Tiny,
    image_data,
    tiny_model,
)

# Refused, with the reason -------------------------------------------------------------------------------------------


class Gained(nn.Conv2d):
    """A Conv2d in name, whose weight is scaled on the fly."""

    def forward(self, x):
        return 0.5 * super().forward(x)


class Twice(Tiny):
    def forward(self, x, t, y=None):
        return self.head(self.head(x))


class Never(Tiny):
    def forward(self, x, t, y=None):
        return F.conv2d(self.entry(x), self.head.weight, padding=1)


class RowsOfTokens(Tiny):
    def forward(self, x, t, y=None):
        return self.head(x.reshape(-1, 8)).reshape(x.shape)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (Tiny(nn.Conv2d(4, 4, 1, stride=2), lambda f: F.pixel_shuffle(f, 2)), "stride"),
        (Tiny(nn.Conv2d(4, 2, 1, groups=2), lambda f: f[:, :1]), "groups"),
        (Tiny(nn.Conv2d(4, 1, 3, padding=2, dilation=2)), "dilation"),
        (Tiny(Gained(4, 1, 3, padding=1)), "Gained, does not compute"),
        (Tiny(behind=lambda f: 2 * f), "rearrangement"),
        (Twice(nn.Conv2d(1, 1, 1)), "runs more than once"),
        (Never(), "never reached"),
        (RowsOfTokens(nn.Linear(8, 8)), "rows for 2 images"),
    ],
)
def test_heads_without_an_exact_posterior_are_refused(network, said):
    model = GenerativeModel(network, (1, 8, 8), head="head")
    with pytest.raises(ConfigurationError, match=said):
        fit(model, image_data(), images=4, held_out=2)
    assert not model.head._forward_hooks and torch.is_grad_enabled()


class Tied(Tiny):
    """The head's weight is the entry's, too."""

    def __init__(self):
        super().__init__(nn.Conv2d(1, 1, 3, padding=1))
        self.entry = nn.Conv2d(1, 1, 3, padding=1)
        self.entry.weight = self.head.weight


def test_a_tied_head_is_refused_by_the_names_of_its_weight():
    model = GenerativeModel(Tied(), (1, 8, 8), head="head")
    with pytest.raises(ConfigurationError, match=r"model\.head = 'head' has tied weights .*entry\.weight"):
        fit(model, image_data(), images=4, held_out=2)


def test_a_frozen_head_is_fitted_like_any_other():
    free, frozen = tiny_model(), tiny_model()
    frozen.requires_grad_(False)
    first, second = (fit(model, image_data(), images=5, held_out=3).posterior for model in (free, frozen))
    assert torch.equal(first.curvature, second.curvature)
    with swapped(frozen.head, second.draw(0)):
        assert not frozen.head.weight.requires_grad


def test_a_group_norm_is_no_head():
    with pytest.raises(ConfigurationError, match=r"model\.head = 'norm'"):
        GenerativeModel(nn.ModuleDict({"norm": nn.GroupNorm(2, 4), "head": nn.Conv2d(4, 1, 1)}), (1, 8, 8), head="norm")
