"""What the evaluation of a run says, as it stands in evaluation.json.

Each class is one object of that JSON, its fields the keys in their order: `files.plain` writes it, `entries.read` reads
it. A number is None where it could not be computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genuq import entries, files
from genuq.analysis.score_entries import IntervalRow, Number, Numbers, ScoreEntry

EVALUATION, SCORES = "evaluation.json", "scores.json"  # files of one evaluation; the second is a part of the first
PROMPT = "prompt"  # the column of what samples are asked for with, in place of the names of classes
SCORE_COLUMN = "score_"  # begins the name of a score's column among the samples


@dataclass(frozen=True)
class SummaryRow:
    """A score in the summary's table; `spearman` is with the summary's `spearman_target`, `adds` to the controls."""

    score: str
    label: str
    kind: str
    spearman: Number
    spearman_low: Number
    spearman_high: Number
    auroc: Number
    auroc_low: Number
    auroc_high: Number
    fid_gain: Number
    fid_gain_low: Number
    fid_gain_high: Number
    within_classes: Number = None
    within_classes_low: Number = None
    within_classes_high: Number = None
    adds: Number = None
    adds_low: Number = None
    adds_high: Number = None

    def measured(self, measure: str) -> IntervalRow:
        """`spearman`, `auroc`, `fid_gain`, `within_classes` or `adds` with its interval."""
        return IntervalRow(*(getattr(self, f"{measure}{end}") for end in ("", "_low", "_high")))


@dataclass(frozen=True)
class Summary:
    """The answer.

    Attributes:
        sentence: for someone who knows none of the terms.
        finds_bad: true or false when the interval of the AUROC (where no truth is known, of the FID gain) lies on one
            side of no effect, None when it holds no effect.
        beats_controls: whether every control does worse, which does not change `finds_bad`; None without a control.
        spearman_target: what the table's Spearman column correlates with.
        table: a row for each score.
    """

    sentence: str | None
    finds_bad: bool | None
    beats_controls: bool | None
    spearman_target: str | None
    table: Sequence[SummaryRow]

    def measured(self, measure: str) -> list[IntervalRow]:
        """One measure of every score."""
        return [row.measured(measure) for row in self.table]

    def row(self, score: str) -> SummaryRow | None:
        return next((row for row in self.table if row.score == score), None)


@dataclass(frozen=True)
class JudgeEntry:
    """Who judged, under which conditions (`metrics.MetricLabel`), how good it is on real test images, and warnings."""

    extractor: str
    dimension: int
    k: int
    samples: int
    reference: int
    real_test_accuracy: Number
    sample_accuracy: Number
    independent: bool
    warnings: Sequence[str]


@dataclass(frozen=True)
class TruthEntry:
    """What the data's oracle found.

    Attributes:
        bad: faults that count as bad; samples with others are left out of AUROC and AUSE.
        counts: samples with each fault.
        valid: samples without any, of `samples`.
        tolerance: the largest defect of a valid sample, in wrong pixels of an image, or standard deviations of a point.
    """

    bad: Sequence[str]
    counts: Mapping[str, int]
    valid: int
    samples: int
    tolerance: float


@dataclass(frozen=True)
class JudgedMapEntry:
    """How well a map finds the wrong pixels (`analysis.maps.JudgedMap`).

    Attributes:
        kind: `map`, or `control` for what knows nothing of the weights.
        pixels, parts: AUROC within a sample; None where there is none.
        top_share: share of its top 5 % of pixels that are wrong.
        faulty: samples with wrong pixels.
    """

    name: str
    label: str
    kind: str
    pixels: IntervalRow | None
    parts: IntervalRow | None
    top_share: IntervalRow | None
    faulty: int


@dataclass(frozen=True)
class DrawsQuality:
    """FID of the unperturbed samples, and of those of each draw."""

    fid_map: Number
    fid_draws: Numbers


@dataclass(frozen=True)
class PromptEntry:
    """The prompts of the samples.

    Attributes:
        count: how many different ones.
        beyond_data: whether some are no classes of the data, so that no judge says whether a sample shows them.
        model: the CLIP that says how well samples show them; None: nothing does.
        clip_score: the samples' mean.
    """

    count: int
    beyond_data: bool
    model: str | None = None
    clip_score: IntervalRow | None = None


@dataclass(frozen=True)
class SettingEntry:
    """A setting of a score that does all of its work or a part.

    Attributes:
        setting: points or times, members, noisings, as far as the score has them.
        cost: of sampling with the score over sampling alone, in network evaluations.
        seconds: of one sample that the score takes beside its sampling, as measured.
        spearman: with the score of the full setting.
        changed: share of the samples that it keeps and the full one does not, or the other way round.
        auroc: cross-fitted, of a model of class and score.
    """

    setting: Mapping[str, Any]
    cost: float
    seconds: Number
    spearman: IntervalRow
    changed: Number = None
    auroc: IntervalRow | None = None


@dataclass(frozen=True)
class PilotEntry:
    """How the pilot of a run chose the setting of its score.

    Attributes:
        score: its name.
        samples: of the pilot.
        budget: the highest cost, see `SettingEntry`.
        stop, tolerance: what was to be stable, and how far.
        keep: share of samples kept, for `changed`.
        sampling_seconds: of one sample, without the score.
        chosen: the setting.
        held_out: of a budget, Spearman's correlation with the full setting of what one half of the pilot chooses on the
            other half; unlike that of the chosen, it is of samples that did not choose.
        bound: of `stop`, the 95 % upper bound of what the chosen loses, on samples that did not choose.
        stable: whether that is within the tolerance; None where nothing was to be stable.
        settings: all that were compared, the full one last.
    """

    score: str
    samples: int
    budget: Number
    stop: str | None
    tolerance: Number
    keep: float
    sampling_seconds: Number
    chosen: SettingEntry
    held_out: Number
    bound: Number
    stable: bool | None
    settings: Sequence[SettingEntry]


@dataclass(frozen=True)
class SampleTable:
    """What is known of each sample, a row each."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def column(self, name: str) -> list[Any]:
        place = self.columns.index(name)
        return [row[place] for row in self.rows]

    def of_score(self, name: str) -> list[Any]:
        """The column of a score."""
        return self.column(f"{SCORE_COLUMN}{name}")


@dataclass(frozen=True)
class Evaluation:
    """evaluation.json: what the stage `evaluate` found; `quality` by posterior."""

    summary: Summary
    judge: JudgeEntry
    scores: Sequence[ScoreEntry]
    quality: Mapping[str, DrawsQuality]
    samples: SampleTable
    truth: TruthEntry | None = None
    judged_maps: Sequence[JudgedMapEntry] = field(default_factory=list)
    prompts: PromptEntry | None = None
    frontier: Sequence[SettingEntry] = field(default_factory=list)

    def score(self, name: str) -> ScoreEntry:
        return next(entry for entry in self.scores if entry.name == name)


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write evaluation.json, and its scores beside it: the samples are most of it, and a study reads many."""
    files.write_json(folder / EVALUATION, files.plain(evaluation))
    files.write_json(folder / SCORES, files.plain(evaluation.scores))


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation in a folder.

    Raises:
        ArtefactError: it is missing, not whole JSON, or of another version, by its path and key.
    """
    return entries.read(folder / EVALUATION, Evaluation)


def read_scores(folder: Path) -> list[ScoreEntry]:
    """The scores of the evaluation in a folder; of one that was made before they had a file of their own, too.

    Raises:
        ArtefactError: as `read_evaluation`.
    """
    if not (folder / SCORES).exists():
        return list(read_evaluation(folder).scores)
    return entries.read(folder / SCORES, list[ScoreEntry])
