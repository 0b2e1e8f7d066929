"""Shape, type and range of what becomes a data set: what is right passes unchanged, all else is named."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from genuq.data.checks import checked_items, checked_labels
from genuq.errors import DataError, NonFiniteError


def grey_levels(dtype: torch.dtype = torch.uint8) -> Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (4, 3, 5, 5), generator=source).to(dtype)


@pytest.mark.parametrize(
    "items",
    [
        grey_levels(),
        grey_levels().float() / 127.5 - 1,
        torch.tensor([-1.0, 1 + 5e-4]).reshape(2, 1, 1, 1),
        40 * torch.randn(6, 2),
    ],
    ids=["grey levels", "signed floats", "rounding beyond 1", "points"],
)
def test_what_is_right_is_given_back(items: Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(checked_items(items, "good"), items)


def test_films_have_the_range_of_images() -> None:
    films = torch.rand(2, 3, 5, 4, 4) * 2 - 1
    assert torch.equal(checked_items(films, "films"), films)
    with pytest.raises(DataError, match=r"must lie in \[-1, 1\]"):
        checked_items(3 * films, "films")


def test_arrays_and_other_precisions_become_float32() -> None:
    signed = (grey_levels().double() / 127.5 - 1).numpy()
    for items in (signed, signed.astype(np.float16), torch.as_tensor(signed).bfloat16()):
        assert checked_items(items, "good").dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.bool])
def test_integers_but_uint8_are_refused_rather_than_taken_unscaled(dtype: torch.dtype) -> None:
    """`ArrayDataset` once took int64 grey levels as float images from 0 to 255."""
    with pytest.raises(
        DataError, match=r"images must be uint8 in \[0, 255\] or floats in \[-1, 1\]; those of mine are"
    ):
        checked_items(grey_levels(dtype), "mine")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (grey_levels().float(), r"float images must lie in \[-1, 1\]; those of mine lie in \[0, 254\]"),
        (grey_levels()[:, 0], r"films \(N, C, F, H, W\) or points \(N, D\), not of shape \(4, 5, 5\)"),
        (torch.zeros(3), r"not of shape \(3,\)"),
        (torch.ones(3, 2, dtype=torch.int64), r"points must be floating; those of mine are int64"),
        (torch.ones(3, 2, dtype=torch.uint8), r"points must be floating; those of mine are uint8"),
    ],
)
def test_other_kinds_are_named(items: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        checked_items(items, "mine")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_items_that_are_not_finite_are_named(bad: float) -> None:
    with pytest.raises(NonFiniteError, match=r"mine has (1 NaN|0 NaN and 1 infinite)"):
        checked_items(torch.tensor([[0.0, bad]]), "mine")


def test_floats_between_0_and_1_are_worth_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"mine lie in \[0, 1\], and genuq's in \[-1, 1\].*2 \* images - 1"):
        checked_items(grey_levels().float() / 255, "mine")


@pytest.mark.parametrize("labels", [[0, 2, 1], np.array([0, 2, 1]), torch.tensor([0.0, 2.0, 1.0])])
def test_labels_of_any_kind_are_whole_numbers(labels: object) -> None:
    found = checked_labels(labels, 3, "mine")
    assert found.dtype == torch.int64 and found.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], "3 items and 2 labels"),
        (torch.eye(3), r"not of shape \(3, 3\); of one-hot rows give labels.argmax\(1\)"),
        ([0.0, 0.5, 1.0], "must be whole numbers"),
    ],
)
def test_labels_of_another_kind_are_named(labels: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        checked_labels(labels, 3, "mine")
