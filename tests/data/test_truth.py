"""Labels and kinds of what is wrong, and what oracles share."""

from __future__ import annotations

import math

import pytest
import torch

from genuq.data.glyphs import GlyphsOracle
from genuq.data.truth import GRADES, Truth, checked, fault_names, grade, wrong
from genuq.errors import ConfigurationError, DataError

KINDS = {"valid": "valid", "bent": "broken", "torn": "broken", "twice": "rule_broken"}


def truth(*kinds: int) -> Truth:
    count = len(kinds)
    parts = torch.zeros(count, 0, dtype=torch.bool)
    return Truth(torch.tensor(kinds), tuple(KINDS), tuple(KINDS.values()), torch.zeros(count), parts)


def test_a_kind_has_its_label():
    found = truth(0, 2, 1, 3)
    assert found.labels.tolist() == [0, 1, 1, 2] and found.valid.tolist() == [True, False, False, False]
    assert {name: chosen.tolist() for name, chosen in found.faults.items()} == {
        "broken": [False, True, True, False],
        "bent": [False, False, True, False],
        "torn": [False, True, False, False],
        "rule_broken": [False, False, False, True],
    }


def test_a_label_with_one_kind_is_named_once():
    assert fault_names({"valid": "valid", "rule_broken": "rule_broken"}) == ["rule_broken"]


def test_faults_are_graded_by_their_size():
    sizes = torch.tensor([5.0, 12.0, 12.1, 32.0, 33.0, math.inf], dtype=torch.float64)
    assert [GRADES[place] for place in grade(sizes, (12, 32))] == [GRADES[i] for i in (0, 0, 1, 1, 2, 2)]


def test_an_error_counts_from_the_gate_on_as_a_share_of_a_pixel():
    images = torch.tensor([-1.0, -0.76, -0.7, 0.0, 1.0])
    torch.testing.assert_close(wrong(images, -torch.ones(5)), torch.tensor([0.0, 0.0, 0.0225, 0.25, 1.0]))


def test_images_are_checked():
    images = torch.full((2, 1, 4, 4), 3.0)
    images[0, 0, 0, 0] = math.nan
    (found,) = checked(images, 4, 4)
    assert found[0, 0, 0] == 0 and found.amax() == 1 and found.shape == (2, 4, 4)
    with pytest.raises(DataError, match=r"knows images \(N, 1, 8, 8\), not \(2, 1, 4, 4\)"):
        next(checked(images, 8, 8))


def test_an_unknown_fault_is_said_with_the_nearest():
    with pytest.raises(
        ConfigurationError, match=r"metric\.bad: there is no fault 'brokn' here\. Did you mean 'broken'"
    ):
        GlyphsOracle().require(["rule_broken", "brokn"], "metric.bad")
