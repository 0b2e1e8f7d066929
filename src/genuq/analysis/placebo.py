"""Does a score see bad samples, or samples that are hard to judge? The same score on real images, all of them good."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genuq.analysis.detection import auroc
from genuq.analysis.inputs import Column, column
from genuq.analysis.intervals import Interval, Undefined, wilson_interval
from genuq.errors import DataError

CHANCE = 0.5


@dataclass(frozen=True)
class Placebo:
    """A score against the errors of the judge on real test images.

    Attributes:
        flagged: share of real images that the judge calls bad.
        auroc: of the score for those; Undefined where the judge errs on none or all.
        hard_to_judge: whether the score finds what the judge errs on, so that its AUROC on generated samples means less
            than it says.
    """

    flagged: Interval
    auroc: Interval | Undefined
    hard_to_judge: bool


def placebo(score: Column, errors: Column, *, bootstrap: int = 1000, seed: int = 0) -> Placebo:
    """A score's AUROC for the judge's errors on real images; 1/2 is what a score of bad samples should have.

    Args:
        score: (N,) of real test images, as it is computed for samples; higher means less trusted.
        errors: (N,) true where the judge calls the real image bad.
        bootstrap, seed: replicates and their seed.
    """
    errors_N = column(errors, "errors") > 0
    flagged = wilson_interval(int(errors_N.sum()), len(errors_N))
    if isinstance(flagged, Undefined):
        raise DataError("A placebo needs real test images: there are none.")
    found = auroc(score, errors_N, bootstrap=bootstrap, seed=seed)
    return Placebo(flagged, found, isinstance(found, Interval) and found.low > CHANCE)


def observable_auroc(true_auroc: float, good_among_bad: float, bad_among_good: float) -> float:
    """The AUROC that a judge with errors can show, if its errors do not go with the score within good and bad samples.

    Args:
        true_auroc: against the truth.
        good_among_bad: share of the samples judged bad that are good.
        bad_among_good: share of the samples judged good that are bad.
    Returns:
        (1 - a - b) AUROC + (a + b) / 2: at 1, the most that any score can reach.
    Source: Menon et al., Learning from Corrupted Binary Labels via Class-Probability Estimation, ICML 2015.
    """
    for name, share in (("good_among_bad", good_among_bad), ("bad_among_good", bad_among_good)):
        if not 0 <= share <= 1:
            raise DataError(f"{name} = {share} is a share and lies in [0, 1].")
    noise = good_among_bad + bad_among_good
    return float(np.clip((1 - noise) * true_auroc + noise / 2, 0, 1))
