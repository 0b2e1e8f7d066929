"""Whether a network is read as it was trained, from its answers on held-out images.

A network that minimises the mean squared error answers f = E[target | x_t], so that target - f is orthogonal to every
function of x_t and t: of f itself (<target, f> / <f, f> is 1 at every time), and it explains no less of the target than
the best multiple of x_t does. Both are looked at in bins of time, with standard errors over images.
Source: the orthogonality principle (Kay 1993, Fundamentals of Statistical Signal Processing, chapter 12).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 10  # of equal width over [0, 1]
COARSER = (5, 2, 1)  # where the images are few
LEAST = 16  # images in a bin that is judged: standard errors of fewer say little
SLOPE_OFF = 0.07  # of the slope from 1; the shipped networks are within 0.05, wrong readings of them beyond 0.1
SLOPE_FARTHEST = 0.2  # of the slope from 1, two standard errors included, in a reading that is named as the right one
SHARE_ABOVE = 0.02  # of the target, by which the residual exceeds that of the best multiple of x_t
STANDARD_ERRORS = 4.0


class DoubtfulFitWarning(UserWarning):
    """A network's answers do not fit what it is read to predict, or it was not trained to predict that."""


def warn_of(doubts: Iterable[str]) -> None:
    """Warn of each, and once where preflight, fit and stage all know of it: Python shows one place's warning once."""
    for doubt in doubts:
        warnings.warn(doubt, DoubtfulFitWarning, stacklevel=1)


class ReadingSums:
    """Sums over held-out images of the products of answers f, targets g and states x; T bins of time.

    Attributes:
        moments_TM: of <f, f>, <g, f>, <g, g>, <g, x> and <x, x>.
        products_TMM: of their products with each other, for standard errors.
        images_T: how many images.
    """

    def __init__(self, bins: int = BINS) -> None:
        self.moments_TM = torch.zeros(bins, 5, dtype=torch.float64)
        self.products_TMM = torch.zeros(bins, 5, 5, dtype=torch.float64)
        self.images_T = torch.zeros(bins, dtype=torch.float64)

    def update(self, x: Tensor, prediction: Tensor, target: Tensor, t_B: Tensor) -> None:
        """Add a batch (B, ...) with its times in [0, 1]."""
        x, f, g = (values.detach().double().flatten(1) for values in (x, prediction, target))
        pairs = ((f, f), (g, f), (g, g), (g, x), (x, x))
        moments_BM = torch.stack([(one * other).sum(1) for one, other in pairs], 1).cpu()
        bins = len(self.images_T)
        bin_B = (t_B * bins).long().clamp(0, bins - 1).cpu()
        self.moments_TM.index_add_(0, bin_B, moments_BM)
        self.products_TMM.index_add_(0, bin_B, moments_BM[:, :, None] * moments_BM[:, None])
        self.images_T.index_add_(0, bin_B, torch.ones_like(moments_BM[:, 0]))

    def sums(self) -> dict[str, Tensor]:
        return {
            "reading_moments": self.moments_TM,
            "reading_products": self.products_TMM,
            "reading_images": self.images_T,
        }

    def restore(self, sums: Mapping[str, Tensor]) -> None:
        """Take stored sums; those of earlier versions have none, and count no image."""
        if "reading_moments" in sums:
            self.moments_TM, self.products_TMM = sums["reading_moments"], sums["reading_products"]
            self.images_T = sums["reading_images"]

    def reading(self, most: int = BINS) -> Reading | None:
        """What the sums say, in as many bins as there are images for; None where there are too few for one.

        Args:
            most: bins.
        """
        for bins in (each for each in (len(self.images_T), *COARSER) if each <= most):
            sums = self._folded(bins)
            if bool((sums.images_T >= LEAST).all()):
                return Reading(*(part.tolist() for part in (*sums._slopes(), *sums._excess())))
        return None

    def _folded(self, bins: int) -> ReadingSums:
        """These sums in fewer bins."""
        folded = ReadingSums(bins)
        folded.moments_TM = self.moments_TM.unflatten(0, (bins, -1)).sum(1)
        folded.products_TMM = self.products_TMM.unflatten(0, (bins, -1)).sum(1)
        folded.images_T = self.images_T.unflatten(0, (bins, -1)).sum(1)
        return folded

    def _slopes(self) -> tuple[Tensor, Tensor]:
        """<g, f> / <f, f> and its standard error, (T,)."""
        ff_T, gf_T = self.moments_TM[:, 0], self.moments_TM[:, 1]
        slope_T = gf_T / ff_T
        contrast_TM = torch.zeros_like(self.moments_TM)
        contrast_TM[:, 0], contrast_TM[:, 1] = -slope_T, 1.0
        return slope_T, self._spread(contrast_TM) / ff_T

    def _excess(self) -> tuple[Tensor, Tensor]:
        """(|g - f|^2 - |g - c x|^2) / |g|^2 with the best c of each bin, and its standard error, (T,)."""
        _, _, gg_T, gx_T, xx_T = self.moments_TM.unbind(1)
        best_T = gx_T / xx_T
        one_T = torch.ones_like(best_T)
        contrast_TM = torch.stack([one_T, -2 * one_T, 0 * one_T, 2 * best_T, -best_T.square()], 1)
        return (contrast_TM * self.moments_TM).sum(1) / gg_T, self._spread(contrast_TM) / gg_T

    def _spread(self, contrast_TM: Tensor) -> Tensor:
        """Standard deviation of the sum over images of a contrast of their moments, (T,)."""
        squares_T = torch.einsum("tm,tmn,tn->t", contrast_TM, self.products_TMM, contrast_TM)
        mean_T = (contrast_TM * self.moments_TM).sum(1).square() / self.images_T
        count_T = self.images_T
        return ((squares_T - mean_T).clamp(min=0) * count_T / (count_T - 1)).sqrt()


@dataclass(frozen=True)
class Reading:
    """How a network's answers f fit the targets g that they are read as, in equal bins of time.

    Attributes:
        slope, slope_error: <g, f> / <f, f>, which is 1 for a mean squared error's minimiser, and its standard error.
        excess, excess_error: of the residual above that of the best multiple of x_t, as a share of the target; at
            most 0 for such a minimiser.
    """

    slope: list[float]
    slope_error: list[float]
    excess: list[float]
    excess_error: list[float]

    @property
    def misfits(self) -> list[str]:
        """What is wrong, a clause for each of the two; none where nothing is."""
        return [clause for clause in (self._of_slopes(), self._of_excess()) if clause]

    @property
    def distance(self) -> float:
        """The largest deviation of a slope from 1."""
        return max(abs(slope - 1) for slope in self.slope)

    @property
    def certain(self) -> bool:
        """Whether nothing is wrong and the images tell enough for no slope to be far from 1."""
        ends = (abs(slope - 1) + 2 * error for slope, error in zip(self.slope, self.slope_error))
        return not self.misfits and all(end < SLOPE_FARTHEST for end in ends)

    def _of_slopes(self) -> str | None:
        off = [abs(slope - 1) for slope in self.slope]
        worst = _worst(off, self.slope_error, SLOPE_OFF)
        if worst is None:
            return None
        return (
            f"the slope of the targets over the answers is {self.slope[worst]:.2f} +- {self.slope_error[worst]:.2f} "
            f"for t in {self._span(worst)}, and 1 at every t for a network that was trained to give them"
        )

    def _of_excess(self) -> str | None:
        worst = _worst(self.excess, self.excess_error, SHARE_ABOVE)
        if worst is None:
            return None
        return (
            f"the answers explain less of the targets than a multiple of x_t does for t in {self._span(worst)}, by "
            f"{100 * self.excess[worst]:.0f} % of them"
        )

    def _span(self, number: int) -> str:
        return f"[{number / len(self.slope):g}, {(number + 1) / len(self.slope):g}]"


def _worst(far: list[float], errors: list[float], least: float) -> int | None:
    """The bin that is farthest off, of those that are by more than `least` and than errors explain."""
    wrong = [number for number, value in enumerate(far) if value > max(least, STANDARD_ERRORS * errors[number])]
    return max(wrong, key=far.__getitem__, default=None)


def told_of(reading: Reading, others: Sequence[str]) -> str:
    """The sentences of a doubtful reading.

    Args:
        others: readings under which the answers would fit, in words.
    """
    advice = (
        f"Read otherwise they fit: {'; or '.join(others)}. Change model to that"
        if others
        else "None of the other usual readings makes them fit. Check the process, prediction, range of the images, "
        "scaling of the latents and labels against the training's, that these are its data, and that it was finished"
    )
    return (
        f"The network's answers do not fit what it is read to predict: {'; '.join(reading.misfits)}. {advice}: until "
        "then the fit, and what is drawn from it, means little."
    )
