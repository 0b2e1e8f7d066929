"""What an application achieved beside its control: numbers with 95 % intervals, and a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from genuq.analysis.inputs import Array, Column, column
from genuq.analysis.intervals import (
    Interval,
    Undefined,
    bootstrap_interval,
    half_samples,
    standard_interval,
    wilson_interval,
)
from genuq.analysis.results import Application, OutcomeRow
from genuq.analysis.subsets import SubsetJudge
from genuq.errors import DataError
from genuq.metrics.checks import Features

SET_METRICS = ("fid", "precision", "recall")
Statistic = Callable[[Array], Array]  # weights w_BN to values (B,)


class Judgement(NamedTuple):
    """What an independent judge says of samples.

    Attributes:
        features_ND: in the judge's space.
        measures: (N,) columns by name, higher is better; the first is the one that decides. `accuracy` is 1 where the
            judge sees the class asked for (or, where the truth is known, where the sample is good).
    """

    features_ND: Tensor
    measures: dict[str, Tensor]

    @property
    def primary(self) -> str:
        return next(iter(self.measures))

    def rows(self, chosen: Array) -> Judgement:
        """The judgement of some of the samples."""
        return Judgement(self.features_ND[chosen], {name: values[chosen] for name, values in self.measures.items()})


Judge = Callable[[Tensor, "Tensor | None"], Judgement]  # float samples (N, ...) and the classes asked for


@dataclass(frozen=True)
class Replicates:
    """How the bootstrap draws: how often, from which seed."""

    count: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class Comparison:
    """One measure of an application, of its control, and their difference (application minus control).

    Attributes:
        n: samples, or groups of them, that were drawn anew for the intervals.
    """

    measure: str
    ours: Interval
    control: Interval
    difference: Interval
    n: int

    def as_row(self) -> OutcomeRow:
        ours, control, gap = self.ours, self.control, self.difference
        numbers = (ours.value, ours.low, ours.high, control.value, control.low, control.high)
        return OutcomeRow(self.measure, *numbers, gap.value, gap.low, gap.high, self.n)


@dataclass
class Rows:
    """Collects comparisons, and why some could not be made."""

    found: list[Comparison] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, measure: str, parts: Sequence[Interval | Undefined], n: int) -> None:
        """A comparison of (ours, control, difference), or a note where one of them has no value."""
        defined = [part for part in parts if isinstance(part, Interval)]
        if len(defined) == 3:
            self.found.append(Comparison(measure, defined[0], defined[1], defined[2], n))
        else:
            missing = next(part.reason for part in parts if isinstance(part, Undefined))
            self.notes.append(f"No {measure}: {missing}." + _alone(parts))

    def statistics(self, measure: str, ours: Statistic, control: Statistic, n: int, replicates: Replicates) -> None:
        """Two statistics of the same samples, by the same replicates."""

        def difference(weights: Array) -> Array:
            return ours(weights) - control(weights)

        self.add(measure, [_bootstrapped(statistic, n, replicates) for statistic in (ours, control, difference)], n)

    def means(self, measure: str, columns: Iterable[Column], replicates: Replicates) -> None:
        """Means of two columns (N,), ours and the control's, paired by sample."""
        ours, control = (column(values, measure) for values in columns)
        self.statistics(measure, mean_of(ours), mean_of(control), len(ours), replicates)

    def rates(
        self, measure: str, ours: tuple[Column, Column], control: tuple[Column, Column], replicates: Replicates
    ) -> None:
        """Shares of successes, Wilson's intervals, and their difference by a bootstrap over the samples.

        Args:
            ours, control: (successes (N,), trials (N,)), zeros and ones.
        """
        pairs = [(column(hits, measure), column(trials, measure)) for hits, trials in (ours, control)]
        shares = [wilson_interval(int((hits * trials).sum()), int(trials.sum())) for hits, trials in pairs]

        def difference(weights: Array) -> Array:
            first, second = (share_of(hits, trials)(weights) for hits, trials in pairs)
            return first - second

        count = len(pairs[0][0])
        self.add(measure, [*shares, _bootstrapped(difference, count, replicates)], count)

    def sets(
        self, features: tuple[Features, Features], real_RD: Features, k: int, halves: int, replicates: Replicates
    ) -> None:
        """FID, precision and recall of two sets of as many samples, paired by row; intervals from half-samples.

        Raises:
            DataError: half of the samples are too few for k neighbours each.
        """
        count = len(features[0])
        if count // 2 <= k:
            raise DataError(
                f"half of {count} samples have no k = {k} neighbours each: raise application.samples to {2 * k + 2} or "
                "more, or lower metric.k."
            )
        judges = [SubsetJudge(side, real_RD, k, 0.5, SET_METRICS) for side in features]
        members = [np.arange(count), *half_samples(count, halves, replicates.seed)]
        values_PSK = np.stack([[judge(rows) for rows in members] for judge in judges])
        unbounded = np.full(len(SET_METRICS), np.inf)
        parts = [
            _half_sampled(values_PSK[0], *judges[0].bounds),
            _half_sampled(values_PSK[1], *judges[1].bounds),
            _half_sampled(values_PSK[0] - values_PSK[1], -unbounded, unbounded),
        ]
        for place, name in enumerate(SET_METRICS):
            self.add(name, [part[place] for part in parts], count)


def _alone(parts: Sequence[Interval | Undefined]) -> str:
    """What is known of one side, where there is nothing to compare it with."""
    sides = [
        f" {who} alone: {part.value:.3g} [{part.low:.3g}, {part.high:.3g}]."
        for who, part in zip(("The application", "The control"), parts)
        if isinstance(part, Interval)
    ]
    return "".join(sides)


def _half_sampled(values_SK: Array, lowest_K: Array, highest_K: Array) -> list[Interval]:
    """An interval for each metric: the value of the whole set first, then those of its halves."""
    low_K, high_K = standard_interval(values_SK[0], values_SK[1:], lowest_K, highest_K)
    return [Interval(*map(float, numbers)) for numbers in zip(values_SK[0], low_K, high_K)]


def _bootstrapped(statistic: Statistic, count: int, replicates: Replicates) -> Interval | Undefined:
    found = bootstrap_interval(statistic, count, replicates.count, replicates.seed)
    return Undefined("nothing to divide by") if isinstance(found, Undefined) else found


def mean_of(values_N: Array) -> Statistic:
    return lambda weights: weights @ values_N / weights.sum(1)


def share_of(hits_N: Array, trials_N: Array) -> Statistic:
    return lambda weights: weights @ (hits_N * trials_N) / (weights @ trials_N)


@dataclass(frozen=True)
class Outcome:
    """What is left of an application when it is done.

    Attributes:
        control: what it is compared with.
    """

    name: str
    control: str
    settings: Mapping[str, Any]
    rows: Sequence[Comparison]
    sentence: str
    notes: Sequence[str] = ()

    def as_entry(self) -> Application:
        """As it stands in the results of a run."""
        return Application(
            name=self.name,
            control=self.control,
            settings=self.settings,
            outcome=[row.as_row() for row in self.rows],
            sentence=self.sentence,
            notes=self.notes,
        )

    def row(self, measure: str) -> Comparison:
        return next(row for row in self.rows if row.measure == measure)


LABELS = {
    "confidence": "the judge's confidence in the class asked for",
    "accuracy": "the share in which the judge sees the class asked for",
    "realism": "realism",
    "good": "the share of good samples",
    "fid": "FID",
    "clip_score": "the CLIP score of sample and prompt",
}


def label(measure: str) -> str:
    return LABELS.get(measure, measure.replace("_", " "))


def clause(row: Comparison, control: str, lower_is_better: bool = False) -> str:
    """A measure against its control in words: the numbers, the interval of the difference, and what follows from it."""
    gain, low, high = row.difference.value, row.difference.low, row.difference.high
    better = "better" if (gain > 0) != lower_is_better else "worse"
    verdict = "no measurable difference" if low <= 0 <= high else better
    return (
        f"{label(row.measure)} is {row.ours.value:.3g} against {row.control.value:.3g} with {control} "
        f"(difference {gain:+.3g}, 95% interval {low:+.3g} to {high:+.3g}: {verdict})"
    )


def weighted_quantile_share(keys_BN: Array, weights_BN: Array, target_B: Array) -> Array:
    """(B, N) weights of what is kept when samples are taken by ascending key until `target` weight is reached.

    Ties go to the lower index; the sample at the border is taken in part.
    """
    order = np.argsort(keys_BN, axis=1, kind="stable")
    sorted_BN = np.take_along_axis(weights_BN, order, axis=1)
    before_BN = np.cumsum(sorted_BN, axis=1) - sorted_BN
    taken = np.empty_like(weights_BN)
    np.put_along_axis(taken, order, np.clip(target_B[:, None] - before_BN, 0, sorted_BN), axis=1)
    return taken
