"""Which layers take part, and why others do not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genuq.errors import ConfigurationError
from genuq.models import find_head
from genuq.networks import UNet
from genuq.posteriors.curvature.layer_choice import choose_layers


class Mixed(nn.Module):
    """One of each kind."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.strided = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(4, 4, 3, groups=2)
        self.reflecting = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
        self.old_normed = nn.utils.spectral_norm(nn.Linear(4, 4))
        self.raised = nn.ConvTranspose2d(4, 4, 2)
        self.words = nn.Embedding(5, 4)
        self.tied = nn.Linear(4, 5)
        self.tied.weight = self.words.weight
        self.block = nn.ModuleList([nn.Linear(4, 4), nn.GroupNorm(2, 4), nn.Linear(4, 4)])


GOOD = ["conv", "strided", "block.0", "block.2"]


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ("all", GOOD),
        (["all"], GOOD),
        ("*", GOOD),
        ("block.*", ["block.0", "block.2"]),
        (["block.2", "conv"], ["conv", "block.2"]),
        (["conv", "conv", "con*"], ["conv"]),
        (["all", "!block.*"], ["conv", "strided"]),
        (["all", "!conv", "!block.2"], ["strided", "block.0"]),
        ("block.[01]", ["block.0"]),
    ],
)
def test_names_and_patterns_choose_layers_in_the_order_of_registration(patterns, chosen):
    assert choose_layers(Mixed(), patterns)[0] == chosen


def test_what_a_pattern_leaves_out_is_told():
    excluded = choose_layers(Mixed(), "all")[1]
    said = {
        "grouped": "groups=2",
        "reflecting": "padding_mode=reflect",
        "normed": "computed",
        "old_normed": "computed",
        "tied": "tied weights (words.weight is tied.weight)",
    }
    assert excluded.keys() == said.keys()
    assert all(part in excluded[name] for name, part in said.items())


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        ("grouped", "'grouped' is a Conv2d with groups=2"),
        ("reflecting", "padding_mode=reflect"),
        ("normed", "computed"),
        ("old_normed", "computed"),
        ("tied", "'tied' has tied weights"),
        ("raised", "'raised' is a ConvTranspose2d"),
        ("block.1", r"'block\.1' is a GroupNorm"),
        ("block", r"holds layers, but is none. Did you mean 'block\.\*'"),
        ("cnov", "matches no Conv2d or Linear layer. Did you mean 'conv'"),
        (["all", "!cnov"], "'cnov' matches no .* Did you mean 'conv'"),
        ("norm*", "leaves no layer. 'normed' has a weight"),
        (["conv", "!conv"], "leaves no layer"),
        ([], r"posterior\.layers = \[\] leaves no layer"),
    ],
)
def test_what_cannot_be_covered_is_refused_by_name(patterns, said):
    with pytest.raises(ConfigurationError, match=said):
        choose_layers(Mixed(), patterns)


def test_frozen_layers_stay_out_unless_named_or_everything_is_frozen():
    network = Mixed()
    network.block.requires_grad_(False)
    chosen, excluded = choose_layers(network, "all")
    assert chosen == ["conv", "strided"] and "frozen" in excluded["block.2"]
    assert choose_layers(network, ["conv", "block.2"])[0] == ["conv", "block.2"]
    assert choose_layers(network, "block.*")[0] == ["block.0", "block.2"]
    assert choose_layers(network.requires_grad_(False), "all")[0] == GOOD


def test_one_module_under_two_names_is_tied():
    shared = nn.Linear(3, 3)
    network = nn.ModuleDict({"first": shared, "second": shared, "third": nn.Linear(3, 3)})
    chosen, excluded = choose_layers(network, "all")
    assert chosen == ["third"] and "first.weight is second.weight" in excluded["first"]


def test_our_unet_is_covered_whole():
    network = UNet((1, 8, 8), channels=(8, 16), num_classes=2)
    chosen, excluded = choose_layers(network, "all")
    wanted = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert chosen == wanted and not excluded
    assert choose_layers(network, ["up.*", "head"])[0] == [name for name in wanted if name.startswith(("up.", "head"))]


def test_a_network_that_is_one_layer():
    assert choose_layers(nn.Linear(2, 2), "all")[0] == [""]


def test_the_choice_changes_nothing():
    network = Mixed()
    before = {name: (value.clone(), value.requires_grad) for name, value in network.named_parameters()}
    choose_layers(network, "all")
    after = dict(network.named_parameters())
    assert all(
        torch.equal(after[name], value) and after[name].requires_grad == r for name, (value, r) in before.items()
    )


def test_a_layer_that_torchs_attention_only_reads_stays_out():
    """Its hooks never run: the attention hands its weights to a function of torch's."""
    network = nn.ModuleDict({"entry": nn.Linear(4, 4), "attention": nn.MultiheadAttention(4, 2)})
    chosen, excluded = choose_layers(network, "all")
    assert chosen == ["entry"] and "never runs it" in excluded["attention.out_proj"]
    with pytest.raises(
        ConfigurationError, match=r"'attention\.out_proj' belongs to an nn\.MultiheadAttention.*Leave it"
    ):
        choose_layers(network, "attention.out_proj")
    assert find_head(network, None) == "entry"
