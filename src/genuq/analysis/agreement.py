"""Do judges of different kinds agree on which samples are bad? Where they do not, there is no truth to go by."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from genuq.analysis.inputs import Array, Column, column
from genuq.analysis.intervals import Interval, Undefined, bootstrap_interval, wilson_interval
from genuq.errors import ConfigurationError, DataError


@dataclass(frozen=True)
class PairOfJudges:
    """Two judges on the same samples.

    Attributes:
        share: of the samples on which they agree.
        kappa: Cohen's: 0 is the agreement of judges that know nothing of each other, 1 is full.
    """

    names: tuple[str, str]
    share: Interval
    kappa: Interval | Undefined


@dataclass(frozen=True)
class Agreement:
    """Judges of the same samples.

    Attributes:
        pairs: of judges, each once.
        agreed_N: bool, true where all judges say the same.
        bad_N: bool, true where all judges say bad.
    """

    pairs: tuple[PairOfJudges, ...]
    agreed_N: Array
    bad_N: Array


def judges_agree(verdicts: Mapping[str, Column], *, bootstrap: int = 1000, seed: int = 0) -> Agreement:
    """How far judges agree, and the samples on which all do.

    Args:
        verdicts: by judge, (N,) true for bad samples; two or more.
        bootstrap, seed: replicates and their seed.
    Raises:
        ConfigurationError: fewer than two judges.
    """
    if len(verdicts) < 2:
        raise ConfigurationError(f"{len(verdicts)} judges cannot agree: give the verdicts of two or more.")
    count = len(column(next(iter(verdicts.values())), "verdict"))
    judged = {name: column(values, f"verdict of '{name}'", count) > 0 for name, values in verdicts.items()}
    together_JN = np.stack(list(judged.values()))
    pairs = [
        _pair(names, judged[names[0]], judged[names[1]], bootstrap, seed) for names in itertools.combinations(judged, 2)
    ]
    all_bad_N, any_bad_N = np.asarray(together_JN.all(0)), np.asarray(together_JN.any(0))
    return Agreement(tuple(pairs), all_bad_N | ~any_bad_N, all_bad_N)


def _pair(names: tuple[str, str], left_N: Array, right_N: Array, bootstrap: int, seed: int) -> PairOfJudges:
    def kappa(weights_BN: Array) -> Array:
        """Cohen, A Coefficient of Agreement for Nominal Scales, 1960."""
        shares = ((weights_BN @ one_N) / weights_BN.sum(1) for one_N in (left_N == right_N, left_N, right_N))
        agreed_B, left_B, right_B = shares
        by_chance_B = left_B * right_B + (1 - left_B) * (1 - right_B)
        return np.asarray((agreed_B - by_chance_B) / (1 - by_chance_B))

    count = len(left_N)
    agreeing = wilson_interval(int((left_N == right_N).sum()), count)
    if isinstance(agreeing, Undefined):
        raise DataError("Judges of no sample cannot agree.")
    certain = bootstrap_interval(kappa, count, bootstrap, seed)
    if isinstance(certain, Undefined):
        certain = Undefined("both judges say the same of every sample")
    return PairOfJudges(names, agreeing, certain)
