"""Does a score add anything to what is known without it? A model of the controls, with the score and without.

The models are logistic regressions of "bad" on the class (an intercept each) and on the normal scores of the columns'
ranks, so that units and monotone changes of a score do not matter. Their AUROC is cross-fitted: each sample's log odds
come from a model that has not seen it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import chdtrc, ndtri

from genuq.analysis.detection import Concordance
from genuq.analysis.inputs import Array, Column, class_column, column
from genuq.analysis.intervals import Interval, Undefined, percentile_interval
from genuq.analysis.logistic import fit_logistic
from genuq.analysis.ranks import Groups, average_ranks
from genuq.analysis.resampling import Resampling
from genuq.randomness import key

FOLDS = 10
RIDGE = 1.0  # of the cross-fitted models: coefficients of normal scores are of the order of 1
VANISHING_RIDGE = 1e-6  # of the likelihood-ratio test, which is about the largest likelihood


@dataclass(frozen=True)
class NestedGain:
    """What columns add to the controls.

    Attributes:
        base: cross-fitted AUROC of class and controls, over the pairs of one fold.
        full: the same with the added columns.
        gain: full less base, from replicates that share their samples.
        statistic: of the likelihood-ratio test of no effect of the added columns, in sample.
        freedom: its degrees: added columns that the controls do not determine.
        p: that chi-squared exceeds the statistic; it takes samples to be independent.
    """

    base: Interval
    full: Interval
    gain: Interval
    statistic: float
    freedom: int
    p: float


@dataclass(frozen=True)
class LikelihoodRatio:
    """The test of no effect: twice the gain in log likelihood, and the columns that made it."""

    statistic: float
    freedom: int

    @property
    def p(self) -> float:
        """That chi-squared exceeds the statistic; it takes samples to be independent."""
        return float(chdtrc(self.freedom, self.statistic)) if self.freedom else 1.0

    def __add__(self, other: LikelihoodRatio) -> LikelihoodRatio:
        """The test of both on samples of their own."""
        return LikelihoodRatio(self.statistic + other.statistic, self.freedom + other.freedom)


@dataclass(frozen=True)
class Added:
    """Cross-fitted AUROCs under weights, without the added columns and with them; and the test in sample."""

    base: Concordance
    full: Concordance
    test: LikelihoodRatio


def nested_gain(
    added: Sequence[Column],
    bad: Column,
    controls: Sequence[Column] = (),
    *,
    classes: Column | None = None,
    clusters: Column | None = None,
    folds: int = FOLDS,
    bootstrap: int = 1000,
    seed: int = 0,
) -> NestedGain | Undefined:
    """`ControlsModel` for one use; its arguments, and the columns that are added."""
    model = ControlsModel(bad, controls, classes=classes, clusters=clusters, folds=folds, seed=seed)
    return model.gain(added, bootstrap=bootstrap)


class ControlsModel:
    """The model of class and controls, fitted once for all scores that may add to it.

    Args:
        bad: (N,) true for bad samples.
        controls: (N,) columns.
        classes: (N,) labels.
        clusters: (N,) labels of samples that belong together: they share a fold and are drawn together.
        folds: of the cross-fit.
        seed: of folds and replicates.
    """

    def __init__(
        self,
        bad: Column,
        controls: Sequence[Column] = (),
        *,
        classes: Column | None = None,
        clusters: Column | None = None,
        folds: int = FOLDS,
        seed: int = 0,
    ) -> None:
        self.bad_N = column(bad, "bad") > 0
        count = len(self.bad_N)
        self.controls_NF = _design(controls, count)
        self.classes_N = np.zeros(count, dtype=np.int64) if classes is None else class_column(classes, count)
        self.clusters, self.folds, self.seed = clusters, folds, seed
        self._base: dict[int, Array] = {}
        self.undefined = self._too_few()
        if self.undefined is None:
            self.folds_N = keyed_folds(self.bad_N, folds, seed, clusters)
            self.logits_N = self._cross_fitted(self.controls_NF)
            self.log_likelihood = self._log_likelihood(self.controls_NF)

    def _too_few(self) -> Undefined | None:
        count = len(self.bad_N)
        codes_N = np.arange(count) if self.clusters is None else class_column(self.clusters, count)
        bad, good = (len(np.unique(codes_N[chosen_N])) for chosen_N in (self.bad_N, ~self.bad_N))
        if min(bad, good) >= self.folds:
            return None
        what = "samples" if self.clusters is None else "clusters of samples"
        return Undefined(f"{bad} bad and {good} good {what} are too few for a model in {self.folds} folds")

    def gain(self, added: Sequence[Column], *, bootstrap: int = 1000) -> NestedGain | Undefined:
        """What columns add, with 95 % intervals.

        The replicates draw samples with their log odds, without fitting anew: the interval is that of these fits.

        Returns:
            Undefined where there are fewer bad or good samples than folds.
        """
        if self.undefined is not None:
            return self.undefined
        count = len(self.bad_N)
        columns_NF = np.concatenate([self.controls_NF, _design(added, count)], axis=1)
        if bootstrap not in self._base:
            self._base[bootstrap] = self._replicates(self.logits_N, bootstrap)
        base_R, full_R = self._base[bootstrap], self._replicates(self._cross_fitted(columns_NF), bootstrap)
        base, full, gain = (_interval(replicates_R) for replicates_R in (base_R, full_R, full_R - base_R))
        statistic, freedom, p = self._likelihood_ratio(columns_NF)
        return NestedGain(base, full, gain, statistic, freedom, p)

    def added(self, columns: Sequence[Column]) -> Added | Undefined:
        """The model with columns beside the one without, for replicates that are drawn elsewhere.

        Returns:
            Undefined where there are fewer bad or good samples than folds.
        """
        if self.undefined is not None:
            return self.undefined
        columns_NF = np.concatenate([self.controls_NF, _design(columns, len(self.bad_N))], axis=1)
        full = Concordance(self._cross_fitted(columns_NF), self.bad_N, self.folds_N)
        return Added(self.base, full, LikelihoodRatio(*self._likelihood_ratio(columns_NF)[:2]))

    @cached_property
    def base(self) -> Concordance:
        """The AUROC of class and controls under weights."""
        return Concordance(self.logits_N, self.bad_N, self.folds_N)

    def _replicates(self, logits_N: Array, bootstrap: int) -> Array:
        """The AUROC of the samples, then that of each replicate."""
        statistic = Concordance(logits_N, self.bad_N, self.folds_N)
        drawn = Resampling(len(logits_N), self.clusters).weights(bootstrap, self.seed)
        with np.errstate(invalid="ignore"):
            return np.concatenate([statistic(np.ones((1, len(logits_N)))), *map(statistic, drawn)])

    def _cross_fitted(self, columns_NF: Array) -> Array:
        """(N,) log odds, each from a model of the other folds."""
        logits_N = np.empty(len(self.bad_N))
        for fold in range(self.folds):
            held_N = self.folds_N == fold
            seen_N = ~held_N
            fit = fit_logistic(columns_NF[seen_N], self.bad_N[seen_N], self.classes_N[seen_N], self._classes, RIDGE)
            logits_N[held_N] = fit.logits(columns_NF[held_N], self.classes_N[held_N])
        return logits_N

    def _log_likelihood(self, columns_NF: Array) -> float:
        return fit_logistic(columns_NF, self.bad_N, self.classes_N, self._classes, VANISHING_RIDGE).log_likelihood

    @property
    def _classes(self) -> int:
        return int(self.classes_N.max()) + 1

    def _likelihood_ratio(self, columns_NF: Array) -> tuple[float, int, float]:
        freedom = self._rank(columns_NF) - self._rank(self.controls_NF)
        if freedom == 0:
            return 0.0, 0, 1.0
        statistic = max(2 * (self._log_likelihood(columns_NF) - self.log_likelihood), 0.0)
        return statistic, freedom, float(chdtrc(freedom, statistic))

    def _rank(self, columns_NF: Array) -> int:
        """Columns that neither the class nor each other determine."""
        if not columns_NF.shape[1]:
            return 0
        centred_FN = Groups(self.classes_N).centre(columns_NF.T, np.ones_like(columns_NF.T))
        return int(np.linalg.matrix_rank(centred_FN, tol=1e-8 * len(self.bad_N) ** 0.5))


def keyed_folds(bad_N: Array, folds: int, seed: int, clusters: Column | None = None) -> Array:
    """(N,) fold of each sample, keyed by the seed: clusters whole, and bad samples spread evenly.

    Clusters are dealt out in the order of how many bad samples they hold, those with as many in random order.
    """
    count = len(bad_N)
    codes_N = np.arange(count) if clusters is None else class_column(clusters, count)
    bad_C = np.bincount(codes_N, bad_N)
    shuffled_C = np.random.default_rng(key(seed, count, "folds")).permutation(len(bad_C))
    fold_C = np.empty(len(bad_C), dtype=np.int64)
    fold_C[np.lexsort((shuffled_C, bad_C))] = np.arange(len(bad_C)) % folds
    return fold_C[codes_N]


def normal_scores(values_N: Array) -> Array:
    """(N,) normal quantiles of the midranks: zero for a constant column.

    Source: van der Waerden 1952; Blom 1958 for the shift by a half.
    """
    return np.asarray(ndtri((average_ranks(values_N) - 0.5) / len(values_N)))


def _interval(replicates_R: Array) -> Interval:
    """Of the first one's value, from the others."""
    drawn = replicates_R[1:]
    return percentile_interval(float(replicates_R[0]), drawn[np.isfinite(drawn)])


def _design(columns: Sequence[Column], count: int) -> Array:
    """(N, F) normal scores of the columns."""
    scores = [normal_scores(column(one, "column", count)) for one in columns]
    return np.stack(scores, axis=1) if scores else np.zeros((count, 0))
