"""Rows of conditioning: picking, null rows, ragged texts and their masks."""

from __future__ import annotations

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.models import Conditions, padded, unpadded


def texts() -> list[torch.Tensor]:
    return [torch.full((length, 2), float(length)) for length in (3, 1, 2)]


def test_a_batch_picks_rows_and_one_null_row() -> None:
    rows = Conditions({"text": torch.arange(3.0)[:, None]}, {"text": torch.tensor([[9.0]])})
    y = torch.tensor([2, 0])
    assert rows.at(torch.cat([rows.null_of(y), y]))["text"].flatten().tolist() == [9, 9, 2, 0]


def test_each_row_may_have_a_null_row_of_its_own() -> None:
    rows = Conditions({"text": torch.arange(3.0)[:, None]}, {"text": 10 + torch.arange(3.0)[:, None]})
    assert rows.at(rows.null_of(torch.tensor([2, 0])))["text"].flatten().tolist() == [12, 10]


def test_ragged_rows_stay_lists() -> None:
    rows = Conditions({"text": texts()}, {"text": [torch.zeros(4, 2)]})
    found = rows.at(torch.tensor([1, 3]))["text"]
    assert [len(text) for text in found] == [1, 4]


def test_what_is_shared_comes_with_every_row() -> None:
    rows = Conditions({"text": torch.zeros(2, 1)}, shared={"guidance": torch.tensor([3.5]), "name": "a"})
    found = rows.at(torch.tensor([0, 1, 1]))
    assert found["guidance"].tolist() == [3.5] * 3 and found["name"] == "a"


def test_padding_has_a_mask_and_an_inverse() -> None:
    text, mask = padded(texts())
    assert text.shape == (3, 3, 2) and mask.sum(1).tolist() == [3, 1, 2]
    assert all(torch.equal(one, other) for one, other in zip(unpadded(text, mask), texts()))
    assert [len(row) for row in unpadded(text, None)] == [3, 3, 3]


@pytest.mark.parametrize("number", [-1, 4])
def test_a_number_beyond_the_rows_is_refused(number: int) -> None:
    rows = Conditions({"text": torch.zeros(3, 1)}, {"text": torch.zeros(1, 1)})
    with pytest.raises(ConfigurationError, match=f"condition {number} is asked for"):
        rows.at(torch.tensor([number]))


@pytest.mark.parametrize(
    "rows,null,said",
    [
        ({"text": torch.zeros(3, 1), "mask": torch.zeros(2, 1)}, None, "rows of different number"),
        ({"text": torch.zeros(3, 1)}, {"text": torch.zeros(2, 1)}, "2 null rows"),
        ({"text": torch.zeros(3, 1)}, {"mask": torch.zeros(1, 1)}, "null rows of mask"),
        ({"text": torch.zeros(3, 4, 1)}, {"text": torch.zeros(1, 5, 1)}, "Pad them"),
    ],
)
def test_what_does_not_fit_together_is_refused(rows, null, said) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Conditions(rows, null)
