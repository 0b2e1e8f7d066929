"""The verdict of a run's witnesses: where they promise nothing it is said, and a rise that is given is taken."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genuq.applications import Attempts, Space, WitnessPanel, calibrated_rise, decide, fit_witness

SAMPLES, FAILED, CANDIDATES = 200, 30, 4


def attempts_at(images: Tensor, source: torch.Generator) -> Attempts:
    """Others like the samples in their place."""
    sides = (torch.randn(FAILED, CANDIDATES, 1, 2, 2, generator=source) for _ in range(2))
    region, nothing = torch.ones(FAILED, 1, 2, 2, dtype=torch.bool), torch.zeros(FAILED, 1, 1)
    return Attempts(torch.arange(FAILED), images[:FAILED], region, *sides, *[nothing] * 3, *torch.ones(2, FAILED))


def bright(images: Tensor) -> Tensor:
    return images.flatten(1).mean(1, keepdim=True)


def jury(agree: bool, **given: object) -> tuple[WitnessPanel, Attempts]:
    """Two witnesses of brightness; or one of them of a pixel that says nothing of it."""
    source = torch.Generator().manual_seed(0)
    images = torch.randn(SAMPLES, 1, 2, 2, generator=source)
    labels = (bright(images)[:, 0] > 0).long()

    def other(x: Tensor) -> Tensor:
        noise = torch.randn(len(x), 1, generator=torch.Generator().manual_seed(len(x)))
        return bright(x) + 0.02 * noise if agree else noise

    spaces = [Space(str(way), way, fit_witness(way(images), labels, 2)) for way in (bright, other)]
    classes = torch.ones(SAMPLES, dtype=torch.long)
    asked_WN = torch.stack([space.witness.log_odds(space.embed(images), classes) for space in spaces])
    settings = {"rise": None, "sure": 0.95} | given
    return WitnessPanel(spaces, classes, asked_WN, settings), attempts_at(images, source)


def test_witnesses_that_know_of_each_other_accept_by_what_they_confirm() -> None:
    seated, attempts = jury(agree=True)
    found = seated.verdict(attempts)
    assert math.isfinite(found.facts["rise"]) and found.facts["expected_success"] >= 0.95 and not found.notes
    assert found.evidence.needed == found.facts["rise"]
    assert decide([found.evidence])[0].accepted.any()
    alone = calibrated_rise(seated.asked_WN, seated.classes, 0.95)
    assert found.facts["confirmed"] != alone.confirmed  # the attempts had a part


def test_witnesses_that_know_nothing_of_each_other_accept_nothing_and_the_reader_is_told() -> None:
    seated, attempts = jury(agree=False)
    found = seated.verdict(attempts)
    assert found.facts["rise"] == math.inf
    assert not any(side.accepted.any() for side in decide([found.evidence]))
    (note,) = found.notes
    assert "No rise of the witnesses promises 95% real improvements" in note and "witness_images" in note


def test_a_rise_that_is_given_is_taken() -> None:
    seated, attempts = jury(agree=False, rise=0.5)
    found = seated.verdict(attempts)
    assert (found.evidence.needed, found.facts, found.notes) == (0.5, {}, [])


def test_doubt_is_minus_the_sum_of_the_log_probabilities() -> None:
    seated, _ = jury(agree=True)
    odds = seated.asked_WN.exp()
    torch.testing.assert_close(seated.doubt, -(odds / (1 + odds)).log().sum(0))
    assert seated.facts["witness_accuracy"] == pytest.approx({s.name: s.witness.accuracy for s in seated.spaces})
