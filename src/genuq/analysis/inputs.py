"""Columns of numbers, one per sample, checked as they come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from genuq.errors import DataError, NonFiniteError

Array = np.ndarray
Column = Array | torch.Tensor | Sequence[float]


def column(values: Column, name: str, count: int | None = None) -> Array:
    """`values` as (N,) float64. Infinities pass, since ranks are well defined with them; NaN does not.

    Raises:
        DataError: not one axis, or another number of samples than `count`.
        NonFiniteError: NaN.
    """
    array = _numpy(values).astype(np.float64)
    if array.ndim != 1 or (count is not None and len(array) != count):
        wanted = "one number per sample" if count is None else f"one number for each of {count} samples"
        raise DataError(f"'{name}' must be {wanted}, not of shape {array.shape}. Score the same samples throughout.")
    missing = int(np.isnan(array).sum())
    if missing:
        raise NonFiniteError(
            f"'{name}' is NaN for {missing} of {len(array)} samples. Leave them out or mend the score."
        )
    return array


def class_column(classes: Any, count: int) -> Array:
    """Labels as (N,) codes 0..C-1 of the classes present."""
    return np.unique(column(classes, "classes", count), return_inverse=True)[1]


def _numpy(values: Any) -> Array:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
