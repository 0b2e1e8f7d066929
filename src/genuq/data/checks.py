"""What items and labels of a data set must be: one check of shape, type and range for every way in."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from genuq.errors import DataError, require_finite

TOLERANCE = 1e-3  # beyond [-1, 1], of rounding and resizing


def checked_items(items: Any, name: str) -> Tensor:
    """Images (N, C, H, W) or films (N, C, F, H, W), uint8 or float32 in [-1, 1], or points (N, D), float32.

    Args:
        items: a tensor or an array.
        name: of the data set, for messages.

    Warns:
        UserWarning: float images that look as if they were scaled to [0, 1].
    Raises:
        DataError: other axes, integers but uint8, or another range.
        NonFiniteError: NaN or infinite values.
    """
    found = torch.as_tensor(items)
    if found.ndim not in (2, 4, 5):
        raise DataError(
            f"{name} must be images (N, C, H, W), films (N, C, F, H, W) or points (N, D), not of shape "
            f"{tuple(found.shape)}."
        )
    if found.dtype == torch.uint8 and found.ndim >= 4:
        return found
    if not found.is_floating_point():
        raise DataError(_other_type(found, name))
    require_range(found, name)
    if found.ndim >= 4:
        _warn_of_unit_range(found, name)
    return found.float()


def require_range(items: Tensor, name: str, bounds: tuple[float, float] = (-1.0, 1.0)) -> None:
    """Raise NonFiniteError for NaN and infinity, DataError for float images or films outside their bounds, [-1, 1]."""
    require_finite(items, name, "Remove or repair these items.")
    if items.ndim < 4 or not items.numel():
        return
    low, high = (float(bound) for bound in items.aminmax())
    if low < bounds[0] - TOLERANCE or high > bounds[1] + TOLERANCE:
        raise DataError(
            f"float images must lie in [{bounds[0]:g}, {bounds[1]:g}]; those of {name} lie in [{low:g}, {high:g}]. "
            "Scale them, or give uint8."
        )


def _warn_of_unit_range(images: Tensor, name: str) -> None:
    """Of a whole set without one value below 0."""
    if images.numel() and float(images.min()) >= 0 and float(images.max()) > 0.5:
        warnings.warn(
            f"the float images of {name} lie in [0, 1], and genuq's in [-1, 1]: if these were scaled to [0, 1], give "
            "2 * images - 1.",
            stacklevel=4,
        )


def checked_labels(labels: Any, count: int, name: str) -> Tensor:
    """int64 (N,), one class for each of `count` items.

    Raises:
        DataError: another number of them, other axes (one-hot rows), or numbers that are not whole.
    """
    found = torch.as_tensor(labels)
    if len(found) != count:
        raise DataError(f"{name} has {count} items and {len(found)} labels; each item needs one.")
    if found.ndim != 1:
        raise DataError(
            f"the labels of {name} must be one class for each item (N,), not of shape {tuple(found.shape)}; of one-hot "
            "rows give labels.argmax(1)."
        )
    if found.is_floating_point() and not bool((found == found.round()).all()):
        raise DataError(f"the labels of {name} must be whole numbers, classes from 0 on.")
    return found.long()


def _other_type(items: Tensor, name: str) -> str:
    kind = str(items.dtype).removeprefix("torch.")
    if items.ndim == 2:
        return f"points must be floating; those of {name} are {kind}. Give points.float()."
    span = ""
    if items.numel() and not items.is_complex():
        low, high = (int(bound) for bound in items.aminmax())
        span = f" in [{low}, {high}]"
    return (
        f"images must be uint8 in [0, 255] or floats in [-1, 1]; those of {name} are {kind}{span}. Give "
        "images.to(torch.uint8) where they are grey levels of 8 bits."
    )
