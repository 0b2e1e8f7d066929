"""Witnesses: classifiers of real training images, each in a space of its own, asked in place of the judge.

A witness is regularised least squares in a Gaussian kernel: a closed form, whose leave-one-out predictions cost nothing
more and choose its settings. Far from every real image its probabilities are all alike: it vouches for nothing there.
What it says is compared as log-odds: from 0.001 to 0.1 is as much evidence as from 0.9 to 0.999.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from genuq.errors import DataError
from genuq.metrics.distances import squared_distances

BANDWIDTHS = (0.5, 1.0, 2.0, 4.0)  # of the kernel, over the median squared distance of the images
RIDGES = (0.03, 0.1, 0.3, 1.0)
TEMPERATURES = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0)
CHOOSING = 1024  # images on which bandwidth and ridge are chosen
RISES = torch.arange(1, 81, dtype=torch.float64) / 4  # of the log-odds, that a calibration tries
PAIRED = 2048  # images of a class in a calibration, evenly spaced
AT_ONCE = 2048  # rows of a kernel
LEAST_TRIALS = 30  # pairs, without which a share means little


@dataclass(frozen=True)
class Witness:
    """A classifier in one space.

    Attributes:
        centres_RD: features of the real images.
        weights_RC: of their kernels, one column a class.
        bandwidth: b of exp(-b |x - y|^2).
        temperature: factor from least squares to log-odds.
        accuracy: leave-one-out, of the real images.
    """

    centres_RD: Tensor
    weights_RC: Tensor
    bandwidth: float
    temperature: float
    accuracy: float

    def logits(self, features_ND: Tensor) -> Tensor:
        """(N, C) of every class, float64."""
        return torch.cat([self._logits(part) for part in features_ND.split(AT_ONCE)])

    def _logits(self, features_BD: Tensor) -> Tensor:
        kernel_BR = torch.exp(-self.bandwidth * squared_distances(features_BD, self.centres_RD))
        return self.temperature * (kernel_BR @ self.weights_RC)

    def log_odds(self, features_ND: Tensor, classes_N: Tensor) -> Tensor:
        """(N,) of the class asked for against all others, in nats."""
        logits_NC, asked_N1 = self.logits(features_ND), classes_N[:, None]
        others_NC = logits_NC.scatter(1, asked_N1, -torch.inf)
        return logits_NC.gather(1, asked_N1)[:, 0] - others_NC.logsumexp(1)


def fit_witness(features_RD: Tensor, labels_R: Tensor, num_classes: int) -> Witness:
    """The witness that real images and their classes make.

    Bandwidth and ridge are those of the highest leave-one-out likelihood on the first 1024 images, the temperature that
    on all of them.

    Raises:
        DataError: fewer than two images, or all of them in one place.
    Source: Rifkin, Yeo & Poggio, Regularized Least-Squares Classification, 2003; leave-one-out residuals: Rasmussen &
        Williams, Gaussian Processes for Machine Learning, 2006, eq. 5.12.
    """
    squared_RR = squared_distances(features_RD, features_RD)
    few = min(CHOOSING, len(features_RD))
    away = squared_RR[:few, :few]
    away = away[away > 0]
    if not len(away):
        raise DataError(f"a witness needs real images that differ; these {len(features_RD)} are all the same.")
    choices = [(b / float(away.median()), ridge) for b in BANDWIDTHS for ridge in RIDGES]

    def likelihood(choice: tuple[float, float]) -> float:
        return _tempered(_solved(squared_RR[:few, :few], labels_R[:few], num_classes, *choice)[1], labels_R[:few])[0]

    bandwidth, ridge = max(choices, key=likelihood)
    weights_RC, left_out_RC = _solved(squared_RR, labels_R, num_classes, bandwidth, ridge)
    accuracy = float((left_out_RC.argmax(1) == labels_R).double().mean())
    return Witness(features_RD, weights_RC, bandwidth, _tempered(left_out_RC, labels_R)[1], accuracy)


def _solved(
    squared_RR: Tensor, labels_R: Tensor, num_classes: int, bandwidth: float, ridge: float
) -> tuple[Tensor, Tensor]:
    """Weights (R, C), and what each image is predicted by all others (R, C); the target is 1 - 1/C or -1/C."""
    target_RC = F.one_hot(labels_R, num_classes).double() - 1 / num_classes
    kernel_RR = torch.exp(-bandwidth * squared_RR)
    kernel_RR.diagonal().add_(ridge)
    inverse_RR = torch.cholesky_inverse(torch.linalg.cholesky(kernel_RR))
    weights_RC = inverse_RR @ target_RC
    return weights_RC, target_RC - weights_RC / inverse_RR.diagonal()[:, None]


def _tempered(predicted_RC: Tensor, labels_R: Tensor) -> tuple[float, float]:
    """The highest mean log-likelihood, and its temperature."""
    rows = torch.arange(len(labels_R))
    return max((float((t * predicted_RC).log_softmax(1)[rows, labels_R].mean()), t) for t in TEMPERATURES)


@dataclass(frozen=True)
class Space:
    """A witness with the way into its space."""

    name: str
    embed: Callable[[Tensor], Tensor]  # images (N, ...) in [-1, 1] to features (N, D)
    witness: Witness


def asked(spaces: Sequence[Space], images: Tensor, classes: Tensor) -> Tensor:
    """(W, ...) log-odds of the class asked for: images (N, C, H, W), or (N, K, C, H, W), classes (N,)."""
    flat = images.flatten(0, images.ndim - 4)
    repeated = classes.repeat_interleave(len(flat) // len(classes))
    found = [space.witness.log_odds(space.embed(flat), repeated) for space in spaces]
    return torch.stack(found).reshape(len(spaces), *images.shape[:-3])


@dataclass(frozen=True)
class RiseCalibration:
    """How far every witness must rise for a change to be sure.

    Attributes:
        rise: of the log-odds of the class asked for; inf where no rise is sure enough.
        confirmed: the share of the rises of one witness that another confirms.
        sure: the share of changes for the better where all rise, if their errors are independent.
    """

    rise: float
    confirmed: float
    sure: float


def calibrated_rise(asked_WN: Tensor, classes_N: Tensor, sure: float) -> RiseCalibration:
    """The smallest rise that is sure enough, with no judge: in each witness's rise the others are the judges.

    One image in place of another of its class is as often better as worse, so that the odds before any evidence are
    even. Of the pairs in which a witness rises by so much, another rises at all in a share c. If the witnesses err
    independently given the truth, the odds of W that all rise are at least (c / (1 - c))^W: c counts the errors of the
    one that confirms too.

    Args:
        asked_WN: see `asked`; of any images of the model, best of those like the ones to be decided on.
    """
    of_classes = [_confirmations(asked_WN[:, _some(classes_N == label)]) for label in classes_N.unique()]
    counts_2L = torch.stack(of_classes).sum(0)
    found = [
        RiseCalibration(rise, confirmed / trials, _unanimous(confirmed / trials, len(asked_WN)))
        for rise, (confirmed, trials) in zip(RISES.tolist(), counts_2L.T.tolist())
        if trials >= LEAST_TRIALS
    ]
    surest = max(found, key=lambda each: each.sure, default=RiseCalibration(math.inf, 0.0, 0.0))
    return next((each for each in found if each.sure >= sure), replace(surest, rise=math.inf))


def _confirmations(asked_WB: Tensor) -> Tensor:
    """(2, L) of the ordered pairs of images of one class: at each least rise, how many are confirmed, and how many."""
    rises_WBB = asked_WB[:, None, :] - asked_WB[:, :, None]
    others_P = (rises_WBB > 0).double().sum(0).flatten() - 1
    counts = torch.zeros(2, len(RISES) + 1, dtype=torch.float64)
    for rising_BB in rises_WBB:
        step_P = torch.bucketize(rising_BB.flatten(), RISES, right=True)
        counts[0] += torch.bincount(step_P, others_P, len(RISES) + 1)
        counts[1] += torch.bincount(step_P, minlength=len(RISES) + 1) * (len(asked_WB) - 1)
    return counts.flip(1).cumsum(1).flip(1)[:, 1:]


def _some(chosen_N: Tensor) -> Tensor:
    """Where it is true, at most PAIRED places of them."""
    places = chosen_N.nonzero().flatten()
    return places[torch.linspace(0, len(places) - 1, min(PAIRED, len(places))).round().long()]


def _unanimous(share: float, witnesses: int) -> float:
    """Probability of what independent witnesses agree in, each right with this probability; even odds before."""
    right, wrong = share**witnesses, (1 - share) ** witnesses
    return right / (right + wrong)
