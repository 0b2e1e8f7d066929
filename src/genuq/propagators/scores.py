"""One number an image from its pixels' variances."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.parts.bounds import OneOf, Share, check_options

REDUCTIONS = ("sum", "mean", "top")


def image_score(
    variance: Tensor,
    reduce: Annotated[str, OneOf(*REDUCTIONS)] = "sum",
    mask: Tensor | None = None,
    share: Share = 0.01,
) -> Tensor:
    """(N,) float64, higher is more uncertain.

    Args:
        variance: per pixel (N, ...).
        reduce: `sum` (BayesDiff), `mean`, or `top`: mean of the highest pixels.
        mask: bool, of the variance's shape or broadcast to it: only these pixels count.
        share: of the pixels (of those that count) that `top` takes, at least one.

    Raises:
        ConfigurationError: unknown reduction, a share outside (0, 1], or a mask that selects nothing of an image.
    """
    check_options(image_score, reduce=reduce, share=share)
    selected = torch.ones_like(variance, dtype=torch.bool) if mask is None else _spread(mask, variance)
    values_NP, selected_NP = variance.double().flatten(1), selected.flatten(1)
    if reduce == "top":
        rows = zip(values_NP, selected_NP)
        return torch.stack([_top(row[chosen], share) for row, chosen in rows])
    total = torch.where(selected_NP, values_NP, 0.0).sum(1)
    return total if reduce == "sum" else total / selected_NP.sum(1)


def _spread(mask: Tensor, variance: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        raise ConfigurationError(f"mask has type {mask.dtype}; it must be boolean (for instance map > threshold).")
    try:
        selected = mask.to(variance.device).expand_as(variance)
    except RuntimeError as error:
        raise ConfigurationError(
            f"mask of shape {tuple(mask.shape)} does not fit variances of shape {tuple(variance.shape)}."
        ) from error
    return some_of_each(selected, "mask")


def some_of_each(selected: Tensor, what: str) -> Tensor:
    """A boolean selection (N, ...) of the pixels of N images, which must hold something of each.

    Args:
        what: it is, for the error.

    Raises:
        ConfigurationError: it holds nothing of some.
    """
    empty = (~selected.flatten(1).any(1)).nonzero().flatten()
    if len(empty):
        raise ConfigurationError(
            f"{what} selects nothing of image {int(empty[0])} ({len(empty)} such of {len(selected)}). "
            "Give each image at least one pixel, or leave it out."
        )
    return selected


def _top(values: Tensor, share: float) -> Tensor:
    return values.topk(max(1, round(share * len(values)))).values.mean()
