"""Is a score better than the best of k controls? The control is chosen on other samples than it is compared on.

Chosen on the same samples, the best of k is the luckiest of k as well, and the comparison is biased against the score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from genuq.analysis.detection import Concordance, one_sided
from genuq.analysis.inputs import Array, Column, column
from genuq.analysis.intervals import Interval, Undefined
from genuq.analysis.nested import keyed_folds
from genuq.analysis.paired import auroc_difference
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
    if not controls:
        raise ConfigurationError("There is no control to compare with: give one or more.")
    bad_N = column(bad, "bad") > 0
    if (reason := one_sided(bad_N)) is not None:
        return reason
    half_N = keyed_folds(bad_N, HALVES, seed, clusters)
    if any(one_sided(bad_N[half_N == half]) is not None for half in range(HALVES)):
        return Undefined("a half of the samples has no bad or no good one")
    columns = {name: column(values, f"control '{name}'", len(bad_N)) for name, values in controls.items()}
    chosen = tuple(_best(columns, bad_N, half_N != half) for half in range(HALVES))
    # Pairs lie within a half, where all values are of one control: units do not matter.
    rival_N = np.choose(half_N, [columns[name] for name in chosen])
    found = auroc_difference(
        score, rival_N, bad_N, classes=half_N, within=True, clusters=clusters, bootstrap=bootstrap, seed=seed
    )
    return found if isinstance(found, Undefined) else OverBestControl(found, chosen)


def _best(columns: Mapping[str, Array], bad_N: Array, rows_N: Array) -> str:
    ones = np.ones((1, int(rows_N.sum())))
    return max(columns, key=lambda name: float(Concordance(columns[name][rows_N], bad_N[rows_N])(ones)[0]))
