"""Is a score better than the best of k controls? The control is chosen on other samples than it is compared on.

Chosen on the same samples, the best of k is the luckiest of k as well, and the comparison is biased against the score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from genuq.analysis.detection import Concordance, one_sided
from genuq.analysis.hierarchy import TrainingSeed
from genuq.analysis.inputs import Array, Column, class_column, column
from genuq.analysis.intervals import Interval, Undefined, weighted_interval
from genuq.analysis.nested import keyed_folds
from genuq.analysis.resampling import Resampling
from genuq.errors import ConfigurationError

HALVES = 2


@dataclass(frozen=True)
class OverBestControl:
    """The AUROC of a score less that of the best control, over the pairs of one half.

    Attributes:
        chosen: the control that each half is compared with: the best one of the other half.
    """

    difference: Interval
    chosen: tuple[str, ...]


def over_best_control(
    score: Column,
    controls: Mapping[str, Column],
    bad: Column,
    *,
    clusters: Column | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> OverBestControl | Undefined:
    """A score against the best control, chosen on the other half of the samples.

    Args:
        score: (N,) higher means less trusted.
        controls: by name, (N,) each, in the direction in which they are declared.
        bad: (N,) true for bad samples.
        clusters: (N,) labels of samples that belong together: they share a half and are drawn together.
        bootstrap, seed: replicates, and the seed of them and of the halves.
    Raises:
        ConfigurationError: no control.
    """
    found = against_best(score, controls, bad, clusters=clusters, seed=seed)
    if isinstance(found, Undefined):
        return found
    drawn = found.one.resampling.weights(bootstrap, seed)
    difference = weighted_interval(found.one.statistic, found.one.resampling.count, drawn)
    return difference if isinstance(difference, Undefined) else OverBestControl(difference, found.chosen)


@dataclass(frozen=True)
class AgainstBest:
    """`OverBestControl` of one training among several: the statistic of its samples, and the controls chosen."""

    one: TrainingSeed
    chosen: tuple[str, ...]


def against_best(
    score: Column,
    controls: Mapping[str, Column],
    bad: Column,
    *,
    classes: Column | None = None,
    clusters: Column | None = None,
    seed: int = 0,
) -> AgainstBest | Undefined:
    """`over_best_control` as the statistic of one training among several.

    Args:
        classes: (N,) labels: over the pairs of one class only.
    """
    if not controls:
        raise ConfigurationError("There is no control to compare with: give one or more.")
    bad_N = column(bad, "bad") > 0
    if (reason := one_sided(bad_N)) is not None:
        return reason
    count = len(bad_N)
    half_N = keyed_folds(bad_N, HALVES, seed, clusters)
    if any(one_sided(bad_N[half_N == half]) is not None for half in range(HALVES)):
        return Undefined("a half of the samples has no bad or no good one")
    columns = {name: column(values, f"control '{name}'", count) for name, values in controls.items()}
    strata_N = half_N if classes is None else HALVES * class_column(classes, count) + half_N
    chosen = tuple(_best(columns, bad_N, strata_N, half_N != half) for half in range(HALVES))
    # Pairs lie within a half, where all values are of one control: units do not matter.
    rival_N = np.choose(half_N, [columns[name] for name in chosen])
    ours, theirs = (Concordance(values_N, bad_N, strata_N) for values_N in (column(score, "score", count), rival_N))
    if not ours.has_pairs:
        return Undefined("no class has both bad and good samples")
    one = TrainingSeed(lambda weights_BN: ours(weights_BN) - theirs(weights_BN), Resampling(count, clusters, strata_N))
    return AgainstBest(one, chosen)


def _best(columns: Mapping[str, Array], bad_N: Array, strata_N: Array, rows_N: Array) -> str:
    ones = np.ones((1, int(rows_N.sum())))

    def auroc(name: str) -> float:
        with np.errstate(invalid="ignore"):
            return float(Concordance(columns[name][rows_N], bad_N[rows_N], strata_N[rows_N])(ones)[0])

    return max(columns, key=auroc)
