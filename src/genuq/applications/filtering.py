"""Filtering: keep the samples that a score trusts most. The control keeps as many, chosen at random."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from genuq.analysis import RetentionStudy, SubsetJudge, keep_lowest
from genuq.analysis.filtering import kept_count
from genuq.analysis.inputs import Array, Column, class_column, column
from genuq.analysis.intervals import Interval
from genuq.applications.finished_run import EXAMPLES, FinishedRun, Made
from genuq.applications.outcome import (
    SET_METRICS,
    Judgement,
    Outcome,
    Replicates,
    Rows,
    Statistic,
    clause,
    weighted_quantile_share,
)
from genuq.applications.register import APPLICATIONS
from genuq.errors import ConfigurationError, DataError
from genuq.metrics.checks import Features
from genuq.parts.bounds import Count, Limits, check_fields

CONTROL = "as many samples chosen at random"


@dataclass(frozen=True)
class Filter:
    """Which samples to keep: exactly one of three rules.

    Attributes:
        fraction: of the samples, in (0, 1), those with the lowest scores.
        count: of samples.
        threshold: the highest score that is kept.
        per_class: keep that fraction of each class; a score that is low on simple classes keeps mainly those otherwise.
    """

    fraction: Annotated[float, Limits(above=0, below=1)] | None = None
    count: Count | None = None
    threshold: float | None = None
    per_class: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "application")
        rules = {"fraction": self.fraction, "count": self.count, "threshold": self.threshold}
        given = [f"application.{name} = {value}" for name, value in rules.items() if value is not None]
        if len(given) != 1:
            raise ConfigurationError(
                f"{', '.join(given) or 'application: none given'}: give exactly one of fraction, count and threshold."
            )
        if self.threshold is not None and self.per_class:
            raise ConfigurationError("application.per_class needs a fraction or a count: a threshold is one for all.")

    def keep(self, score: Column, classes: Column | None = None) -> Array:
        """Sorted indices of the samples kept.

        Raises:
            ConfigurationError: the rule keeps no sample, or all of them; or classes are needed and there are none.
        """
        score_N = column(score, "score")
        if self.per_class and classes is None:
            raise ConfigurationError("application.per_class = true, but the model knows no classes: set it to false.")
        if self.threshold is not None:
            kept = np.flatnonzero(score_N <= self.threshold)
        else:
            fraction = self.fraction if self.count is None else self._share(len(score_N))
            kept = keep_lowest(score_N, fraction or 0.0, classes if self.per_class else None)
        if not 0 < len(kept) < len(score_N):
            raise ConfigurationError(
                f"application.{self._rule} keeps {len(kept)} of {len(score_N)} samples, whose scores go from "
                f"{score_N.min():.4g} to {score_N.max():.4g}. Choose one that keeps some and drops some."
            )
        return kept

    @property
    def _rule(self) -> str:
        return next(name for name in ("fraction", "count", "threshold") if getattr(self, name) is not None)

    def _share(self, samples: int) -> float:
        assert self.count is not None
        if not 0 < self.count < samples:
            raise ConfigurationError(
                f"application.count = {self.count}; it must lie between 1 and {samples - 1} of {samples} samples."
            )
        return self.count / samples

    def taken(self, score_N: Array, classes_N: Array | None) -> Statistic:
        """Weights w_BN of a resampled set to the weights (B, N) that the filter keeps of it."""

        def take(weights_BN: Array) -> Array:
            if self.threshold is not None:
                return weights_BN * (score_N <= self.threshold)
            totals_B = weights_BN.sum(1)
            fraction = self.fraction if self.count is None else self.count / len(score_N)
            target_B = np.array([kept_count(fraction or 0.0, total) for total in totals_B], dtype=float)
            if classes_N is None:
                keys_BN = np.broadcast_to(score_N, weights_BN.shape)
            else:
                keys_BN = _quantiles_within(score_N, classes_N, weights_BN)
            return weighted_quantile_share(keys_BN, weights_BN, target_B)

        return take


def _quantiles_within(score_N: Array, classes_N: Array, weights_BN: Array) -> Array:
    """Each sample's quantile within its class, under weights: the midpoint of the weight that it takes up."""
    keys_BN = np.empty_like(weights_BN)
    for code in np.unique(classes_N):
        rows = np.flatnonzero(classes_N == code)
        rows = rows[np.argsort(score_N[rows], kind="stable")]
        own = weights_BN[:, rows]
        keys_BN[:, rows] = (np.cumsum(own, axis=1) - 0.5 * own) / np.maximum(own.sum(1, keepdims=True), 1)
    return keys_BN


def filter_outcome(
    rule: Filter,
    score: Column,
    judgement: Judgement,
    real_RD: Features,
    k: int,
    classes: Column | None = None,
    replicates: Replicates | None = None,
    half_samples: int = 100,
    random_repeats: int = 50,
) -> Outcome:
    """Means over the kept samples, FID, precision and recall of the kept set, beside random choice at equal N.

    The control's means are exact expectations over all random choices (within each class where the filter goes by
    class); its set metrics are averages over `random_repeats` choices.
    """
    score_N, replicates = column(score, "score", len(judgement.features_ND)), replicates or Replicates()
    kept = rule.keep(score_N, classes)
    classes_N = class_column(classes, len(score_N)) if rule.per_class else None
    take, rows = rule.taken(score_N, classes_N), Rows()
    for name, values in judgement.measures.items():
        values_N = column(values, name, len(score_N))
        ours, control = kept_mean(take, values_N), random_mean(take, values_N, classes_N)
        rows.statistics(name, ours, control, len(score_N), replicates)
    fraction = len(kept) / len(score_N)
    try:
        judge = SubsetJudge(judgement.features_ND, real_RD, k, 0.5 * fraction, SET_METRICS)
        study = RetentionStudy(
            judge,
            fractions=[1.0, fraction],
            classes=classes_N,
            random_repeats=random_repeats,
            resamples=half_samples,
            seed=replicates.seed,
        )
        _add_set_metrics(rows, study, score_N)
    except (ConfigurationError, DataError) as error:
        rows.notes.append(f"No {', '.join(SET_METRICS)}: {error}")
    where = " of each class" if rule.per_class else ""
    opening = f"Keeping {len(kept)} of {len(score_N)} samples{where} by the score: "
    sentence = opening + clause(rows.found[0], "as many chosen at random") + "."
    settings = {"rule": rule._rule, "kept": len(kept), "samples": len(score_N), "per_class": rule.per_class}
    return Outcome("filter", CONTROL, settings, rows.found, sentence, rows.notes)


def kept_mean(take: Statistic, values_N: Array) -> Statistic:
    def mean(weights_BN: Array) -> Array:
        kept_BN = take(weights_BN)
        return kept_BN @ values_N / kept_BN.sum(1)

    return mean


def random_mean(take: Statistic, values_N: Array, classes_N: Array | None) -> Statistic:
    """The expected mean of as many samples chosen at random, of each class as many where there are classes."""
    codes: Sequence[Array] = [np.ones(len(values_N))]
    if classes_N is not None:
        codes = [(classes_N == code).astype(float) for code in np.unique(classes_N)]

    def mean(weights_BN: Array) -> Array:
        kept_BN = take(weights_BN)
        total = np.zeros(len(weights_BN))
        for member_N in codes:
            size_B = weights_BN @ member_N
            average_B = weights_BN @ (member_N * values_N) / np.maximum(size_B, 1)
            total += kept_BN @ member_N * average_B
        return total / kept_BN.sum(1)

    return mean


def _add_set_metrics(rows: Rows, study: RetentionStudy, score_N: Array) -> None:
    """Metrics of the kept set. A gain is the area between the curves at 1, where they meet, and at the fraction, over
    the width between them: half of the difference at the fraction.
    """
    found = study.evaluate(score_N)
    for place, (name, curve) in enumerate(found.curves.items()):
        gain, sign = found.gains[name], float(study.judge.better[place])
        ends = sorted(2 * sign * end for end in (gain.low, gain.high))
        ours, control = curve.at(1).interval, curve.random_at(1).interval
        assert ours is not None and control is not None
        assert math.isclose(2 * sign * gain.value, ours.value - control.value, abs_tol=1e-9)
        rows.add(name, [ours, control, Interval(2 * sign * gain.value, *ends)], study.judge.count)


def _of_rows(known: FinishedRun, index: Tensor, images: Mapping[str, Tensor], after: Tensor) -> dict[str, Tensor]:
    """Examples whose `after` and `control` are other samples; each is judged by its own class."""
    judged, first = known.judgement.measures, known.judgement.primary
    rows = {"before": index, "after": after, "control": torch.arange(len(index))}
    values = {f"{name}_judged": judged[first][rows[name]].double() for name in rows}
    others = {"after_index": after, "control_index": rows["control"]}
    return {"index": index, **others, **{k: known.shown(v) for k, v in images.items()}, **values}


@APPLICATIONS.add(name="filter", label="Filter", settings=Filter, control=CONTROL)
def run_filter(known: FinishedRun, rule: Filter) -> Made:
    """Keep the samples that the score trusts most.

    Examples: the samples of highest score, which were dropped, beside those of lowest score, and any.
    """
    with known.busy("filtering"):
        outcome = filter_outcome(
            rule,
            known.score,
            known.judgement,
            known.real,
            known.k,
            known.classes,
            known.replicates,
            known.half_samples,
            known.random_repeats,
        )
    kept = torch.as_tensor(rule.keep(known.score, known.classes))
    dropped = torch.ones(len(known.score), dtype=torch.bool).index_fill(0, kept, False).nonzero().flatten()
    best, worst = (rows[known.score[rows].argsort()] for rows in (kept, dropped))
    shown_rows = min(EXAMPLES, len(best), len(worst))
    images = known.samples["image"]
    pairs = {"before": images[worst.flip(0)[:shown_rows]], "after": images[best[:shown_rows]]}
    index = worst.flip(0)[:shown_rows]
    return outcome, _of_rows(known, index, pairs | {"control": images[:shown_rows]}, best[:shown_rows])
