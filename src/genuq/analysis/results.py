"""What a run says, as it stands in results.json, and what the record of a study keeps of it.

That is its evaluation, and what it was an evaluation of.

Each class is one object of that JSON; see `genuq.analysis.evaluation_entries`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from genuq.analysis.evaluation_entries import (
    DrawsQuality,
    JudgedMapEntry,
    JudgeEntry,
    PilotEntry,
    PromptEntry,
    SampleTable,
    SettingEntry,
    Summary,
    TruthEntry,
)
from genuq.analysis.score_entries import IntervalRow, Number, Numbers, ScoreEntry


@dataclass(frozen=True)
class RunResults:
    """What the record of a run keeps of its evaluation; `numbers` as `analysis.numbers.numbers_of` names them."""

    summary: Summary
    judge: JudgeEntry
    numbers: Mapping[str, Number]


@dataclass(frozen=True)
class ScaleEntry:
    """The scale of a posterior (`posteriors.Scale`), a reason for each of its numbers, and what decided its size."""

    n_effective: Number
    n_seen: Number
    observation_noise: Number
    prior_precision: Number
    temperature: Number
    relative_perturbation: Number
    how: Mapping[str, str]
    criterion: str | None


@dataclass(frozen=True)
class DominanceEntry:
    """How much of a posterior is its prior (`posteriors.PriorDominance`); None where it has no curvature."""

    parameters: Number
    effective_parameters: Number
    trace_ratio: Number
    relative_move: Number


@dataclass(frozen=True)
class ReadingEntry:
    """How a network's answers fit their targets (`posteriors.Reading`), in equal bins of time."""

    slope: Numbers
    slope_error: Numbers
    excess: Numbers
    excess_error: Numbers


@dataclass(frozen=True)
class FitSummary:
    """What the stage `fit` notes of one posterior.

    Attributes:
        evidence: (prior precisions, log marginal likelihood), if made.
        predictive: (factors of the covariance, held-out log predictive density), if made.
        noise_profile: s^2 of equal bins of time, where there is more than one.
        residual_variance: on held-out images, where there are any.
        fit_seconds, trunk_forward_seconds: of the fit, and of that the network's own forward pass.
        dominance: of the prior; None in fits of earlier versions.
        reading: on held-out images; None where there are few, and in fits of earlier versions.
        doubts: why the fit may say little, a sentence each.
    """

    kind: str
    scale: ScaleEntry
    evidence: Sequence[Numbers] | None
    predictive: Sequence[Numbers] | None
    noise_profile: Numbers | None
    residual_variance: Number
    fit_seconds: Number
    trunk_forward_seconds: Number
    dominance: DominanceEntry | None = None
    reading: ReadingEntry | None = None
    doubts: Sequence[str] = ()


@dataclass(frozen=True)
class CostEntry:
    """Seconds of a posterior's fit, of its samples and draws; network evaluations of all draws of one sample."""

    fit_seconds: Number
    trunk_forward_seconds: Number
    sample_seconds: Number
    draw_seconds: Number
    evaluations: Number


@dataclass(frozen=True)
class PosteriorEntry:
    """One posterior of a run: what it is, what decided the size of its draws, its cost, how good its draws are.

    Attributes:
        name: its kind.
        label: what the run calls it.
        head: the layer of those that are over the last layer alone.
        evidence, predictive, noise_profile, dominance: see `FitSummary`.
    """

    name: str
    label: str
    head: str | None
    draws: int | None
    scale: ScaleEntry
    evidence: Sequence[Numbers] | None
    predictive: Sequence[Numbers] | None
    noise_profile: Numbers | None
    cost: CostEntry
    quality: DrawsQuality
    dominance: DominanceEntry | None = None


@dataclass(frozen=True)
class DataEntry:
    """The training data, and how many real images the judge compares with."""

    name: str
    reference_images: int
    class_names: Sequence[str]


@dataclass(frozen=True)
class ModelEntry:
    """The model whose samples these are."""

    name: str
    network: str
    parameters: int
    prediction: str
    process: str
    checkpoint: str


@dataclass(frozen=True)
class SamplerEntry:
    """How the samples were made."""

    name: str
    steps: int
    evaluations_per_sample: float
    guidance_scale: float


@dataclass(frozen=True)
class LikelihoodEntry:
    """The space in which draws are compared; `extractor` is None for pixels and points."""

    name: str
    extractor: str | None
    dimension: int
    observation_variance: Number
    how: str


@dataclass(frozen=True)
class MapsEntry:
    """How the pixel maps were made; `score_reduce` makes one number of each."""

    propagator: str
    solver: str
    unit: str
    score_reduce: str
    evaluations_ratio: Number
    how: str


@dataclass(frozen=True)
class OutcomeRow:
    """One measure of an application, of its control, and their difference, each with its 95 % interval."""

    measure: str
    value: Number
    low: Number
    high: Number
    control_value: Number
    control_low: Number
    control_high: Number
    difference: Number
    difference_low: Number
    difference_high: Number
    n: int

    @property
    def ours(self) -> IntervalRow:
        return IntervalRow(self.value, self.low, self.high)

    @property
    def control(self) -> IntervalRow:
        return IntervalRow(self.control_value, self.control_low, self.control_high)

    @property
    def gap(self) -> IntervalRow:
        return IntervalRow(self.difference, self.difference_low, self.difference_high)


@dataclass(frozen=True)
class ExamplesEntry:
    """Where the examples of an application lie, and how many there are."""

    file: str
    count: int


@dataclass(frozen=True)
class Application:
    """application.json: what an application achieved beside its `control`."""

    name: str
    control: str
    settings: Mapping[str, Any]
    outcome: Sequence[OutcomeRow]
    sentence: str
    notes: Sequence[str] = ()
    judge: str | None = None
    examples: ExamplesEntry | None = None


@dataclass(frozen=True)
class Results:
    """results.json: all that the report of a run shows; what has a default may be missing, and is shown as a dash.

    Attributes:
        config: the resolved configuration.
        posterior: the run's own, the first of `posteriors`.
        warnings: what a reader must know, a sentence each.
        frontier: the settings of the run's score that do a part of its work, and the full one, on the run's samples.
        pilot: how the setting of the score was chosen.
        scale: that the run was made at; at another than `full` no number is a result.
    """

    name: str
    genuq_version: str | None
    command: str | None
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    summary: Summary
    data: DataEntry | None
    model: ModelEntry | None
    sampler: SamplerEntry | None
    posterior: PosteriorEntry | None
    posteriors: Sequence[PosteriorEntry]
    likelihood: LikelihoodEntry | None
    judge: JudgeEntry | None
    scores: Sequence[ScoreEntry]
    samples: SampleTable
    maps: MapsEntry | None = None
    application: Application | None = None
    warnings: Sequence[str] = ()
    truth: TruthEntry | None = None
    judged_maps: Sequence[JudgedMapEntry] = field(default_factory=list)
    prompts: PromptEntry | None = None
    frontier: Sequence[SettingEntry] = field(default_factory=list)
    pilot: PilotEntry | None = None
    scale: str = "full"
