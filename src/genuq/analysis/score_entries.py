"""What the evaluation of a run says of each score, as it stands in scores.json.

Each class is one object of that JSON, see `genuq.analysis.evaluation_entries`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from genuq.analysis.intervals import Interval

Number = float | None
Numbers = Sequence[Number]


@dataclass(frozen=True)
class IntervalRow:
    """A value with the ends of its 95 % interval."""

    value: Number
    low: Number
    high: Number

    @classmethod
    def of(cls, found: Interval) -> IntervalRow:
        return cls(found.value, found.low, found.high)

    @property
    def interval(self) -> Interval | None:
        """None where any of the three is missing."""
        if self.value is None or self.low is None or self.high is None:
            return None
        return Interval(self.value, self.low, self.high)


NOTHING = IntervalRow(None, None, None)


@dataclass(frozen=True)
class Detection(IntervalRow):
    """AUROC of the bad samples: `positives` of the `n`."""

    positives: int
    n: int


@dataclass(frozen=True)
class Addition(IntervalRow):
    """What a score adds to the controls: the cross-fitted AUROC of a model with the score less that of one without.

    Attributes:
        base, full: those two AUROCs.
        statistic, freedom, p: of the likelihood-ratio test of no effect.
        controls: names of the columns in the model without the score.
        by_class: whether it has an intercept for each class.
    """

    base: Number
    full: Number
    statistic: Number
    freedom: int
    p: Number
    controls: Sequence[str]
    by_class: bool


@dataclass(frozen=True)
class Curve:
    """One metric against the fraction kept, with 95 % intervals; `random_*` are subsets of equal size at random: their
    mean, and the range that 95 % of them fall in."""

    fraction: Sequence[float]
    value: Numbers
    low: Numbers
    high: Numbers
    random_value: Numbers
    random_low: Numbers
    random_high: Numbers

    def at(self, place: int) -> IntervalRow:
        """The metric at one of the fractions."""
        return IntervalRow(self.value[place], self.low[place], self.high[place])

    def random_at(self, place: int) -> IntervalRow:
        """That of random subsets of the same size."""
        return IntervalRow(self.random_value[place], self.random_low[place], self.random_high[place])


@dataclass(frozen=True)
class BinnedMetric:
    """One metric in bins of equal size, from the lowest to the highest scores.

    Attributes:
        centre: mean score of each bin; None where it is not finite.
        value: of the metric in each bin.
        spearman: correlation of the bin's rank with the metric.
    """

    centre: Numbers
    value: Numbers
    spearman: IntervalRow


@dataclass(frozen=True)
class Correlation:
    """Rank correlation of a score with a target, by one statistic, over n samples."""

    target: str
    statistic: str
    value: Number
    low: Number
    high: Number
    n: int

    @property
    def interval(self) -> Interval | None:
        return IntervalRow(self.value, self.low, self.high).interval


@dataclass(frozen=True)
class ScoreEntry:
    """One evaluated score.

    Attributes:
        kind: `score`, `baseline`, `control` or `oracle`.
        evaluations_per_sample: network evaluations beside those of sampling.
        curves, gains, bins: by metric; `per_class_gains` filter within each class, None where there are none.
        notes: what could not be computed, and why.
        within_classes: AUROC over the pairs of a bad and a good sample of one class.
        adds: to class, complexity and controls.
        detections: by fault, of the samples that have it among these and those without any; empty without an oracle.
    """

    name: str
    label: str
    kind: str
    evaluations_per_sample: Number
    curves: Mapping[str, Curve]
    gains: Mapping[str, IntervalRow]
    per_class_gains: Mapping[str, IntervalRow] | None
    bins: Mapping[str, BinnedMetric]
    correlations: Sequence[Correlation]
    auroc: Detection | None
    ause: IntervalRow | None
    notes: Sequence[str]
    within_classes: IntervalRow | None = None
    adds: Addition | None = None
    detections: Mapping[str, Detection] = field(default_factory=dict)

    def correlation(self, target: str, statistic: str) -> Correlation | None:
        """With a target, by a statistic."""
        wanted = target, statistic
        return next((entry for entry in self.correlations if (entry.target, entry.statistic) == wanted), None)
