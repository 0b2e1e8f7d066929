"""95 % intervals: what a number would have been with other samples of the same model, the reference being given.

Two resamplings, one for each kind of statistic:
    - statistics of one number per sample (correlations, AUROC, AUSE): the bootstrap, as integer weights w_BN, so that
      every replicate is computed at once and nothing is copied;
    - statistics of neighbourhoods and covariances (FID, precision, ...): half-samples without replacement. A bootstrap
      sample holds copies, which have distance zero to each other and would shrink every neighbour radius. A half-sample
      has none, and its deviation from the whole has the same variance as the whole's from the population
      (finite-population correction 1/2 x N / (N/2) = 1; McCarthy, Pseudo-replication: Half Samples, 1969).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from genuq.analysis.inputs import Array
from genuq.randomness import key

LEVEL = 0.95
STANDARD_ERRORS = 1.959963984540054  # of a normal distribution, on each side of a 95 % interval
BATCH_NUMBERS = 2**17  # weights at a time: 1 MiB stays in the cache


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def excludes(self, no_effect: float) -> bool:
        return self.low > no_effect or self.high < no_effect


@dataclass(frozen=True)
class Undefined:
    """In place of an interval, why there is none."""

    reason: str


def bootstrap_weights(count: int, replicates: int, seed: int) -> Iterator[Array]:
    """Yield (b, N) integer weights as float64, `replicates` rows in all: how often each sample was drawn."""
    rows = max(1, BATCH_NUMBERS // count)
    source = np.random.default_rng(key(seed, count, "bootstrap"))
    for start in range(0, replicates, rows):
        size = min(rows, replicates - start)
        drawn = source.integers(0, count, size=(size, count)) + count * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count).astype(np.float64)


def bootstrap_interval(
    statistic: Callable[[Array], Array], count: int, replicates: int, seed: int
) -> Interval | Undefined:
    """Percentile bootstrap of a weighted statistic.

    Args:
        statistic: takes weights w_BN and returns (B,); NaN where a replicate has no value.
        count: N, the number of samples.
        replicates: of the bootstrap.
        seed: the same seed draws the same replicates for every statistic, so that they can be compared pairwise.
    """
    return weighted_interval(statistic, count, bootstrap_weights(count, replicates, seed))


def weighted_interval(
    statistic: Callable[[Array], Array], count: int, batches: Iterable[Array]
) -> Interval | Undefined:
    """`bootstrap_interval` over replicates that are drawn elsewhere, such as whole clusters: (b, N) weights each."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic(np.ones((1, count)))[0])
        drawn = np.concatenate([statistic(weights) for weights in batches])
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(drawn) == 0:
        return Undefined("one of the two is constant, or all of its variation is explained by the controls")
    return percentile_interval(value, drawn)


def percentile_interval(value: float, replicates: Array) -> Interval:
    """The middle 95 % of the replicates, widened to hold the value where resampling shifted them past it."""
    low, high = np.quantile(replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, min(value, float(low)), max(value, float(high)))


def wilson_interval(successes: int, trials: int) -> Interval | Undefined:
    """Share of successes in independent trials.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 1927.
    """
    if trials == 0:
        return Undefined("there was no trial")
    share, z2 = successes / trials, STANDARD_ERRORS**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    reach = STANDARD_ERRORS / (1 + z2 / trials) * np.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return Interval(share, max(0.0, min(share, float(centre - reach))), min(1.0, max(share, float(centre + reach))))


def half_samples(count: int, replicates: int, seed: int) -> list[Array]:
    """Sorted row indices of `replicates` random halves."""
    sources = (np.random.default_rng(key(seed, index, "half sample")) for index in range(replicates))
    return [np.sort(source.permutation(count)[: count // 2]) for source in sources]


def standard_interval(value: Array, replicates: Array, lowest: Array, highest: Array) -> tuple[Array, Array]:
    """Low and high ends, 1.96 standard deviations of the half-sample replicates (along axis 0) around `value`.

    Deviations are taken from the replicates' own mean: FID and recall depend on N, and a half has half of it.
    """
    reach = STANDARD_ERRORS * replicates.std(axis=0, ddof=1)
    return np.maximum(value - reach, lowest), np.minimum(value + reach, highest)
