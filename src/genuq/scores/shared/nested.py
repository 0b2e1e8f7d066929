"""How much of what weight draws say about a sample is the weights' doing, and how much the noise that they were asked
with.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Components:
    """Parts of the variance of a prediction over weights and noises, by the law of total variance.

    Attributes:
        between: (B,) variance over the weights of the mean over noises, the epistemic part. Without bias, so that it
            is below 0 now and then where there is little of it.
        within: (B,) mean over the weights of the variance over noises.
    """

    between: Tensor
    within: Tensor

    @property
    def total(self) -> Tensor:
        """(B,) the whole variance."""
        return self.between + self.within

    @property
    def share(self) -> Tensor:
        """(B,) of the weights in the whole; 0 where nothing varies."""
        return torch.where(self.total > 0, self.between / self.total, 0.0)


def components(values_MPB: Tensor) -> Components:
    """The parts of a variance from M weight draws, all of which saw the same P noises.

    The variance over weights of the means over few noises holds 1/P of the variance by which noises move the weights
    against each other (their interaction); what they move for all weights alike is in none of the means' differences.
        between = var_m(mean_p y_mp) - I / P,    I = sum_mp (y_mp - y_m. - y_.p + y_..)^2 / ((M - 1)(P - 1)),
        within = mean_m(var_p y_mp).
    Variances are the unbiased ones, and so is each part, for draws and noises that are independent.

    Args:
        values_MPB: (M, P, B, ...), M and P at least 2; variances are summed over what follows B.
    Source: the two-way analysis of variance with random effects, Searle, Casella and McCulloch, Variance Components,
        1992, section 4.5.
    """
    members, noises = values_MPB.shape[:2]
    assert members > 1 and noises > 1, "a variance needs two"
    values = values_MPB.double().flatten(3) if values_MPB.ndim > 3 else values_MPB.double()[..., None]
    of_member, of_noise = values.mean(1, keepdim=True), values.mean(0, keepdim=True)
    apart = values - of_member - of_noise + values.mean((0, 1), keepdim=True)
    interaction = apart.square().sum((0, 1)) / ((members - 1) * (noises - 1))
    between = of_member[:, 0].var(0, correction=1) - interaction / noises
    return Components(between.sum(1), values.var(1, correction=1).mean(0).sum(1))
