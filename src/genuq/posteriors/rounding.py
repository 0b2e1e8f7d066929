"""Which draws a network in half precision may round: those whose deviations are larger than what rounding takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from genuq.models.precision import HALF
from genuq.posteriors.base import Posterior

UNITS = 2  # in the last place: of the size of a weight, a draw's deviation that rounding does not hide


class DrawnWeights(NamedTuple):
    """Trained weights that posteriors move.

    Attributes:
        fine: by so little that their layers have to compute in float32.
        rounded: by so much that draws may be rounded; none that is also among the others.
    """

    fine: list[Tensor]
    rounded: list[Tensor]


def drawn_in(precision: str, posteriors: Iterable[Posterior]) -> DrawnWeights:
    """The weights that any of these posteriors moves, for `GenerativeModel.half_precision`.

    A deviation is told by `relative_perturbation`: an ensemble of independent trainings moves the weights by about
    their size, short fine-tunings by some hundredths, a last-layer Laplace by less than bfloat16 can tell.

    Args:
        precision: `bfloat16` or `float16`; in another one no draw is rounded.
    """
    least = UNITS * torch.finfo(HALF[precision]).eps if precision in HALF else float("inf")
    fine: dict[int, Tensor] = {}
    rounded: dict[int, Tensor] = {}
    for posterior in posteriors:
        own = [posterior.module.get_parameter(name) for name in posterior.covered()]
        weights = {id(value): value for value in own}
        far = precision in HALF and posterior.relative_perturbation() >= least
        (rounded if far else fine).update(weights)
    return DrawnWeights(list(fine.values()), [value for key, value in rounded.items() if key not in fine])
