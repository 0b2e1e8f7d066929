"""One call that evaluates every score of a set of samples and returns the entries of the results' `scores`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from torch import Tensor

from genuq.analysis.bins import most_bins, quantile_bins
from genuq.analysis.control_models import ControlModels
from genuq.analysis.correlation import STATISTICS, correlation
from genuq.analysis.detection import auroc, auroc_within, ause
from genuq.analysis.inputs import Array, Column, column
from genuq.analysis.intervals import Interval, Undefined
from genuq.analysis.metrics import CURVES, METRICS
from genuq.analysis.retention import FRACTIONS, RetentionStudy, descending_fractions, require_samples
from genuq.analysis.score_entries import (
    NOTHING,
    Addition,
    BinnedMetric,
    Correlation,
    Detection,
    IntervalRow,
    ScoreEntry,
)
from genuq.analysis.subsets import SubsetJudge, fellows_asked
from genuq.errors import ConfigurationError, did_you_mean
from genuq.metrics.checks import Features
from genuq.metrics.manifold import Neighbourhood
from genuq.metrics.manifold import neighbourhood as neighbourhood_of
from genuq.metrics.reference import Gaussian
from genuq.parallel import collectives
from genuq.parts.bounds import Count, Items, Limits, Seed, Several, Share, check_fields

KINDS = ("score", "baseline", "control", "oracle")  # in the order of the table
HELD = ("lid", "guidance_gap")  # baselines that a posterior must add to as well: they know no posterior and cost little
RANDOM = "random"  # the control that knows nothing
Progress = Callable[[int, int, str], None]
Replicates = Annotated[int, Limits(2, 1_000_000)]  # all are held at once


@dataclass(frozen=True)
class EvaluationSettings:
    """How scores are evaluated; the group `metric` of the configuration.

    Args:
        k: neighbours that set the radius of a ball (5: Naeem et al. 2020).
        fractions: of the samples kept, in the filtering curves.
        bins: quantile bins of a score; fewer when the samples do not allow as many.
        bootstrap: replicates for correlations, AUROC and AUSE.
        half_samples: replicates for curves, gains and bins.
        random_repeats: random subsets of each size, the control of the curves.
        per_class: also filter within each class, when classes are known.
        metrics: of the curves and bins.
        seed: of all resampling.
    """

    k: Count = 5
    fractions: Annotated[tuple[Share, ...], Items(2, distinct=True, holding=1.0)] = FRACTIONS
    bins: Several = 8
    bootstrap: Replicates = 1000
    half_samples: Replicates = 100
    random_repeats: Replicates = 50
    per_class: bool = True
    metrics: tuple[str, ...] = CURVES
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self, "metric")


@dataclass(frozen=True)
class ScoredSamples:
    """One score of every sample.

    Args:
        values: (N,) higher means less trusted.
        label: what a reader is shown.
        kind: `score`, `baseline` (of the literature), `control` (should not work), or `oracle` (sees what a score may
            not, such as real data).
        evaluations_per_sample: network evaluations it costs beside those of sampling.
    """

    values: Column
    label: str
    kind: str = "score"
    evaluations_per_sample: float = 0.0


@dataclass(frozen=True)
class SampleFacts:
    """What else is known of every sample; all optional.

    Args:
        targets: by name, what the score should follow: the judge's confidence, realism, membership.
        bad: true for samples off the manifold or of the wrong class.
        left_out: true for samples that count neither as bad nor as good in AUROC and AUSE.
        faults: by name, true for samples that are wrong in this way; each is told from those without any fault.
        classes: labels, held constant in partial correlations and in filtering within classes.
        complexity: of the image, held constant in partial correlations.
        clusters: labels of samples that belong together, such as those of one noise seed.
    """

    targets: Mapping[str, Column] = field(default_factory=dict)
    bad: Column | None = None
    left_out: Column | None = None
    faults: Mapping[str, Column] = field(default_factory=dict)
    classes: Column | None = None
    complexity: Column | None = None
    clusters: Column | None = None


def evaluate_scores(
    scores: Mapping[str, ScoredSamples],
    fake_ND: Features,
    real_RD: Features,
    facts: SampleFacts | None = None,
    settings: EvaluationSettings | None = None,
    progress: Progress | None = None,
    reference: Gaussian | None = None,
    neighbourhood: Neighbourhood | None = None,
    together: bool = False,
) -> list[ScoreEntry]:
    """Curves, gains, bins, correlations, AUROC and AUSE of every score, and what it adds to the controls.

    Args:
        scores: by name; all of them are checked before any long work.
        fake_ND: features of the samples from the judge's extractor, which must not be the one that scores
            (`check_independence`).
        real_RD: features of the reference from the same extractor.
        facts: what else is known of the samples.
        settings: how to evaluate.
        progress: called with (steps done, steps in all, what was done).
        reference: of the FIDs, in place of the mean and covariance of real_RD.
        neighbourhood: `neighbourhood_for` of these, where it is known already.
        together: whether all processes of a group call this alike: each evaluates some of the scores, and has all.
    Returns:
        One entry for each score. `notes` says what could not be computed and why; such numbers are None.
    """
    settings, facts = settings or EvaluationSettings(), facts or SampleFacts()
    report = progress or (lambda done, total, what: None)
    _check_columns(scores, facts, len(fake_ND), settings)
    evaluator = _Evaluator(scores, fake_ND, real_RD, facts, settings, reference, neighbourhood)
    names, entries = list(scores), {}
    for number in collectives.share(len(names)) if together else range(len(names)):
        score = scores[names[number]]
        report(number + 1, len(names) + 1, f"evaluating {score.label}")
        entries[names[number]] = evaluator.entry(names[number], score)
    entries = collectives.gathered(entries) if together else entries
    report(len(names) + 1, len(names) + 1, "evaluated")
    return [entries[name] for name in names]


def smallest_share(settings: EvaluationSettings, samples: int) -> float:
    """Of the samples in the smallest subset that an evaluation judges: half of the smallest cut or bin."""
    bins = min(settings.bins, most_bins(samples, settings.k))
    return 0.5 * min(descending_fractions(settings.fractions)[-1], 1 / bins)


def neighbourhood_for(
    settings: EvaluationSettings, real_RD: Features, fake_ND: Features, radii_R: Tensor | None = None
) -> Neighbourhood:
    """All that an evaluation asks of neighbours, for its `neighbourhood`: no pair of samples is measured twice.

    Args:
        real_RD: features of the reference.
        fake_ND: features of the samples.
        radii_R: of the real balls (`metrics.real_radii`), where they are known.
    """
    asked = {METRICS.get(name).path for name in settings.metrics}
    count = fellows_asked(len(fake_ND), settings.k, smallest_share(settings, len(fake_ND)))
    recalls = METRICS.get("recall").path in asked
    return neighbourhood_of(real_RD, fake_ND, settings.k, fellows=count if recalls else 0, radii=radii_R)


def is_held(name: str, score: ScoredSamples) -> bool:
    """Whether a score is one of those that the others must add to."""
    return name != RANDOM and (score.kind == "control" or name in HELD)


def _check_columns(scores: Mapping[str, ScoredSamples], facts: SampleFacts, count: int, settings: Any) -> None:
    require_samples(count, settings.k, descending_fractions(settings.fractions)[-1])
    for name, score in scores.items():
        column(score.values, f"score '{name}'", count)
        if score.kind not in KINDS:
            raise ConfigurationError(f"Score '{name}' has kind '{score.kind}'.{did_you_mean(score.kind, KINDS)}")
    known = {"bad": facts.bad, "left_out": facts.left_out, "classes": facts.classes, "complexity": facts.complexity}
    known |= {"clusters": facts.clusters, **facts.targets, **facts.faults}
    for name, values in known.items():
        if values is not None:
            column(values, name, count)


class _Evaluator:
    """What the scores share, prepared once."""

    def __init__(
        self,
        scores: Mapping[str, ScoredSamples],
        fake_ND: Features,
        real_RD: Features,
        facts: SampleFacts,
        settings: EvaluationSettings,
        reference: Gaussian | None,
        neighbourhood: Neighbourhood | None,
    ) -> None:
        self.facts, self.settings = facts, settings
        self.bins = min(settings.bins, most_bins(len(fake_ND), settings.k))
        share = smallest_share(settings, len(fake_ND))
        self.judge = SubsetJudge(fake_ND, real_RD, settings.k, share, settings.metrics, reference, neighbourhood)
        self.controls = self._controls(scores)
        self.study = self._study(None)
        self.study_per_class = self._study(facts.classes) if settings.per_class and facts.classes is not None else None

    def _controls(self, scores: Mapping[str, ScoredSamples]) -> ControlModels | None:
        """None where no truth is known."""
        facts = self.facts
        if facts.bad is None:
            return None
        return ControlModels(
            self._of_kept(facts.bad),
            {name: self._of_kept(score.values) for name, score in scores.items() if is_held(name, score)},
            classes=None if facts.classes is None else self._of_kept(facts.classes),
            complexity=None if facts.complexity is None else self._of_kept(facts.complexity),
            clusters=None if facts.clusters is None else self._of_kept(facts.clusters),
            **self._replicates(),
        )

    def _study(self, classes: Column | None) -> RetentionStudy:
        return RetentionStudy(
            self.judge,
            fractions=self.settings.fractions,
            classes=classes,
            random_repeats=self.settings.random_repeats,
            resamples=self.settings.half_samples,
            seed=self.settings.seed,
        )

    def entry(self, name: str, score: ScoredSamples) -> ScoreEntry:
        notes = _Notes()
        detection = self._auroc(score, notes)
        retention = self.study.evaluate(score.values)
        per_class = self.study_per_class.evaluate(score.values).gains if self.study_per_class else None
        return ScoreEntry(
            name=name,
            label=score.label,
            kind=score.kind,
            evaluations_per_sample=float(score.evaluations_per_sample),
            curves=retention.curves,
            gains=_rows(retention.gains),
            per_class_gains=None if per_class is None else _rows(per_class),
            bins=self._bins(score, notes),
            correlations=self._correlations(score, notes),
            auroc=detection,
            ause=self._ause(score, notes),
            within_classes=self._within_classes(score, notes) if detection else None,
            adds=self._adds(name, score, notes) if detection else None,
            notes=notes.sentences,
            detections=self._detections(score, notes),
        )

    def _bins(self, score: ScoredSamples, notes: _Notes) -> dict[str, BinnedMetric]:
        if self.bins < self.settings.bins:
            notes.sentences.append(f"{self.bins} bins, not {self.settings.bins}: too few samples for more.")
        options = {"bins": self.bins, "resamples": self.settings.half_samples, "seed": self.settings.seed}
        found = quantile_bins(score.values, self.judge, **options)
        return {
            metric: BinnedMetric(
                [centre if math.isfinite(centre) else None for centre in bins.centre],
                bins.value,
                notes.row_of(bins.spearman, f"Spearman of bins with {metric}") or NOTHING,
            )
            for metric, bins in found.items()
        }

    def _correlations(self, score: ScoredSamples, notes: _Notes) -> list[Correlation]:
        entries = []
        controls = [] if self.facts.complexity is None else [self.facts.complexity]
        for target, values in self.facts.targets.items():
            for statistic in self._statistics():
                found = correlation(
                    score.values, values, statistic, classes=self.facts.classes, controls=controls, **self._replicates()
                )
                row = notes.row_of(found, f"{statistic} with {target}")
                if row:
                    entries.append(Correlation(target, statistic, row.value, row.low, row.high, self.judge.count))
        return entries

    def _statistics(self) -> tuple[str, ...]:
        partial = self.facts.classes is not None or self.facts.complexity is not None
        return STATISTICS if partial else tuple(name for name in STATISTICS if name != "partial_spearman")

    def _auroc(self, score: ScoredSamples, notes: _Notes) -> Detection | None:
        if self.facts.bad is None:
            return None
        return self._detection(score, column(self.facts.bad, "bad") > 0, self._kept(), "AUROC", notes)

    def _detections(self, score: ScoredSamples, notes: _Notes) -> dict[str, Detection]:
        """Of each fault against the samples without any."""
        faults = {name: column(values, name) > 0 for name, values in self.facts.faults.items()}
        faulty = np.any([np.zeros(self.judge.count, dtype=bool), *faults.values()], axis=0)
        found = {
            name: self._detection(score, fault, fault | ~faulty, f"AUROC of {name}", notes)
            for name, fault in faults.items()
        }
        return {name: detection for name, detection in found.items() if detection is not None}

    def _detection(self, score: ScoredSamples, bad: Array, kept: Array, what: str, notes: _Notes) -> Detection | None:
        values = column(score.values, "score")[kept]
        row = notes.row_of(auroc(values, bad[kept], **self._replicates()), what)
        return None if row is None else Detection(row.value, row.low, row.high, int(bad[kept].sum()), int(kept.sum()))

    def _kept(self) -> Array:
        """Which samples count as bad or as good."""
        if self.facts.left_out is None:
            return np.ones(self.judge.count, dtype=bool)
        return column(self.facts.left_out, "left_out") == 0

    def _of_kept(self, values: Column) -> Array:
        return column(values, "values")[self._kept()]

    def _ause(self, score: ScoredSamples, notes: _Notes) -> IntervalRow | None:
        if self.facts.bad is None:
            return None
        error = (self._of_kept(self.facts.bad) > 0).astype(float)
        return notes.row_of(ause(self._of_kept(score.values), error, **self._replicates()), "AUSE")

    def _within_classes(self, score: ScoredSamples, notes: _Notes) -> IntervalRow | None:
        if self.facts.bad is None or self.facts.classes is None:
            return None
        values, bad, classes = (self._of_kept(each) for each in (score.values, self.facts.bad, self.facts.classes))
        clusters = None if self.facts.clusters is None else self._of_kept(self.facts.clusters)
        found = auroc_within(values, bad, classes, clusters=clusters, **self._replicates())
        return notes.row_of(found, "AUROC within classes")

    def _adds(self, name: str, score: ScoredSamples, notes: _Notes) -> Addition | None:
        found = None if self.controls is None else self.controls.adds(name, self._of_kept(score.values))
        if isinstance(found, Undefined):
            notes.row_of(found, "gain over the controls")
            return None
        return found

    def _replicates(self) -> dict[str, int]:
        return {"bootstrap": self.settings.bootstrap, "seed": self.settings.seed}


def _rows(gains: Mapping[str, Interval]) -> dict[str, IntervalRow]:
    return {metric: IntervalRow.of(gain) for metric, gain in gains.items()}


class _Notes:
    """Collects why numbers are missing while turning intervals into rows."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def row_of(self, found: Interval | Undefined, what: str) -> IntervalRow | None:
        if isinstance(found, Interval):
            return IntervalRow.of(found)
        self.sentences.append(f"No {what}: {found.reason}.")
        return None
