"""Cards by name: their peaks, the time that operations take at a share of it, and which are here."""

from __future__ import annotations

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.planning.cards import CARDS, EFFICIENCY, LEAST, MOST, Card, card_of

CARD = Card("Maker Fast 80GB", half=100, single=10, memory=80)


def test_operations_take_a_share_of_the_peak() -> None:
    found = CARD.seconds(4e15, torch.bfloat16)
    assert found.seconds == pytest.approx(40 / EFFICIENCY) and found.how == "counted"
    assert (found.low, found.high) == pytest.approx((40 / MOST, 40 / LEAST))
    assert CARD.seconds(4e15, torch.float32).seconds == pytest.approx(400 / EFFICIENCY)


def test_names_in_any_writing() -> None:
    assert card_of("H200") is card_of("h200") is CARDS["h200"] and card_of("rtx-4090") is CARDS["rtx_4090"]
    with pytest.raises(ConfigurationError, match=r"--card 'h20' is not known\. Did you mean 'h200'"):
        card_of("h20")


def test_every_card_is_faster_in_half_precision() -> None:
    assert all(card.half > card.single > 0 < card.memory for card in CARDS.values())


@pytest.mark.parametrize(("name", "here"), [("Maker Fast 80GB SXM", True), ("Maker Slow 80GB", False)])
def test_a_card_is_here_by_its_name(name: str, here: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: name)
    assert CARD.is_here is here
