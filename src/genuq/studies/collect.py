"""A study's table and its curves, from the records of its runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genuq.analysis.evaluation_entries import EVALUATION, read_scores
from genuq.analysis.score_entries import Curve, ScoreEntry
from genuq.analysis.seeds import UNBOUNDED, Reading, Readings, gain
from genuq.errors import ConfigurationError, did_you_mean
from genuq.report.drawing.values import present
from genuq.report.drawing.vocabulary import measure_of
from genuq.report.study.figures import Curves
from genuq.report.study.table import Measure, Place, Row, StudyTable, cells_of
from genuq.store.artefact import brought
from genuq.store.records import RunRecord, studies_in
from genuq.store.scales import FULL
from genuq.studies.declaration import SCORE, Study, Wanted
from genuq.studies.grid import Matched, matched
from genuq.studies.scales import records_at, scales_in


@dataclass(frozen=True)
class Setting:
    """A row and column of the table.

    Attributes:
        score: name of the score that the row is of; empty where rows are of runs as a whole.
        runs: that are there, by seed.
        expected: how many the study asks for.
    """

    row: Row
    column: str
    score: str
    runs: Mapping[str, RunRecord]
    expected: int

    @property
    def place(self) -> tuple[Row, str]:
        return self.row, self.column

    def readings(self, measure: Wanted) -> Readings:
        found = {seed: reading(run, number_name(measure, self.score)) for seed, run in self.runs.items()}
        return {seed: value for seed, value in found.items() if value is not None}


def table_of(study: Study, found: Matched, store: Path, scale: str = FULL) -> StudyTable:
    """The study's table from the runs that are there.

    Args:
        scale: that these were made at. At another than the full one nothing is best.

    Raises:
        ConfigurationError: a measure that no run has.
    """
    runs = list(found.runs.values())
    labels = labels_of(found)
    _require_numbers(study, runs)
    settings = settings_in(study, found, labels)
    measures = measures_of(study, labels)
    keys = (*study.rows, SCORE) if study.scores else study.rows
    readings: dict[Place, Readings] = {
        (*setting.place, measure.name): setting.readings(measure) for setting in settings for measure in study.measures
    }
    cells = cells_of(
        readings,
        {setting.place: {seed: run.id for seed, run in setting.runs.items()} for setting in settings},
        {setting.place: setting.expected for setting in settings},
        measures,
        [keys.index(key) for key in study.within],
    )
    return StudyTable(
        name=study.name,
        title=study.title,
        question=study.question,
        commands=study.commands,
        keys=keys,
        column=study.columns,
        rows=tuple(dict.fromkeys(setting.row for setting in settings)),
        columns=tuple(dict.fromkeys(setting.column for setting in settings)),
        measures=measures,
        cells=cells if scale == FULL else {place: replace(cell, mark="", compared="") for place, cell in cells.items()},
        within=study.within,
        expected=len(study.jobs),
        missing=tuple(f"{job.command}{typed_scale(scale)}" for job in study.jobs if job not in found.runs),
        notes=(*notes(study, found, labels, store), *notes_of_scale(study, store, scale)),
        published=study.published,
        scale=scale,
    )


def labels_of(found: Matched) -> dict[str, str]:
    """What a reader is shown for each score."""
    return {line.score: line.label for run in found.runs.values() for line in run.evaluated.summary.table}


def settings_in(study: Study, found: Matched, labels: Mapping[str, str]) -> list[Setting]:
    """Every row with every column, in the order of the commands; none is expected where no command asks for any."""
    rows, columns = (dict.fromkeys(getattr(job, part) for job in study.jobs) for part in ("row", "column"))
    asked: dict[tuple[Row, str], list[Any]] = {(row, column): [] for row in rows for column in columns}
    for job in study.jobs:
        asked[job.row, job.column].append(job)
    return [
        Setting(
            row=(*row, labels.get(score, score)) if score else row,
            column=column,
            score=score,
            runs={job.seed: found.runs[job] for job in asked[row, column] if job in found.runs},
            expected=len(asked[row, column]),
        )
        for row in rows
        for score in study.scores or ("",)
        for column in columns
    ]


def record_numbers(run: RunRecord) -> dict[str, Any]:
    """All numbers of a run by name, and what each stage took."""
    return {**run.evaluated.numbers} | {f"seconds/{stage}": seconds for stage, seconds in run.seconds.items()}


def number_name(measure: Wanted, score: str) -> str:
    return f"{score}/{measure.name}" if score else measure.name


def reading(run: RunRecord, name: str) -> Reading | None:
    """One number of a run with its interval; None where the run has none."""
    numbers = record_numbers(run)
    value, low, high = (numbers.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if not present(value):
        return None
    return Reading(value, low, high) if present(low) and present(high) else Reading(value)


def _require_numbers(study: Study, runs: Sequence[RunRecord]) -> None:
    known = {name for run in runs for name in record_numbers(run)}
    for measure in study.measures:
        for score in study.scores or ("",):
            name = number_name(measure, score)
            if known and name not in known:
                place = f"scores: '{score}', measures: '{measure.name}'" if score else f"measures: '{measure.name}'"
                raise ConfigurationError(f"{place}: no run has the number '{name}'.{did_you_mean(name, known)}")


def measures_of(study: Study, labels: Mapping[str, str]) -> tuple[Measure, ...]:
    """The measures with their words and directions; the score is named where there are several."""
    several = len({of for of in map(_score_of, study.measures) if of}) > 1
    found = []
    for wanted in study.measures:
        known, of = measure_of(wanted.name), _score_of(wanted)
        label = known.label if known else wanted.name.rpartition("/")[2].replace("_", " ")
        better = None if known is None else "lower" if known.lower_is_better else "higher"
        suffix = f", {labels.get(of, of)}" if several and of else ""
        bounds = known.bounds if known else UNBOUNDED
        found.append(
            Measure(wanted.name, wanted.label or label + suffix, wanted.better or better, wanted.digits, bounds)
        )
    return tuple(found)


def _score_of(measure: Wanted) -> str:
    of = measure.name.rpartition("/")[0]
    return "" if of == "seconds" else of


def notes(study: Study, found: Matched, labels: Mapping[str, str], store: Path) -> Iterator[str]:
    """What a reader must know of where the numbers come from."""
    scores = {of for of in map(_score_of, study.measures) if of}
    if len(scores) == 1:
        (only,) = scores
        yield f"Measures of a score are those of: {labels.get(only, only)}."
    if not found.runs:
        others = ", ".join(name for name in studies_in(store) if name != study.name)
        yield f"No run of study '{study.name}' is recorded in {store}" + (
            f"; it has runs of {others}." if others else "."
        )
    if found.earlier:
        names = ", ".join(run.id for run in found.earlier)
        yield f"Of runs made again, the last counts; left out: {names}."
    if found.strangers:
        names = ", ".join(run.name for run in found.strangers)
        yield f"Recorded under this study, but not of its commands, and left out: {names}."


def typed_scale(scale: str) -> str:
    """What a command that makes a run at this scale ends in."""
    return "" if scale == FULL else f" scale={scale}"


def notes_of_scale(study: Study, store: Path, scale: str) -> Iterator[str]:
    """How many of the study's full runs are missing, in a table of others, and at which further scales it has some."""
    if scale != FULL:
        count = len(study.jobs) - len(matched(study.jobs, records_at(store, study.name, FULL), store).runs)
        verb, them = ("is", "it") if count == 1 else ("are", "them")
        if count:
            yield f"At full scale {count} of {len(study.jobs)} runs {verb} missing; the commands above make {them}."
    for other in scales_in(store, study.name):
        if other not in (FULL, scale):
            yield f"Runs at scale={other} are left out: no number of theirs is a result (--scale {other} shows them)."


def curves_of(study: Study, found: Matched, store: Path) -> dict[str, Curves]:
    """What filtering gains in each metric that the study draws, of the runs whose evaluation is still in the store."""
    if not study.curves:
        return {}
    settings = settings_in(study, found, labels_of(found))
    read = {run.id: curves_in(scores_of(run, store), study) for run in found.runs.values()}
    drawn: dict[str, Curves] = {}
    for metric in study.curves:
        of_metric = {}
        for setting in settings:
            by_seed = {seed: read[run.id].get((setting.score, metric)) for seed, run in setting.runs.items()}
            entry = gain({seed: curve for seed, curve in by_seed.items() if curve is not None})
            if entry is not None:
                of_metric[setting.place] = entry
        drawn[metric] = of_metric
    return drawn


def curves_in(scores: Sequence[ScoreEntry], study: Study) -> dict[tuple[str, str], Curve]:
    """The curves that the study draws of a run, by score and metric; of its own score where rows are of whole runs."""
    rows = {entry.name: entry for entry in scores} if study.scores else dict(zip([""], scores))
    return {
        (name, metric): rows[name].curves[metric]
        for name in study.scores or ("",)
        if name in rows
        for metric in study.curves
        if metric in rows[name].curves
    }


def scores_of(run: RunRecord, store: Path) -> list[ScoreEntry]:
    """The evaluated scores of a run, its own first; none where the store has lost them."""
    folder = run.artefacts.get("evaluate")
    if folder is None or not (brought(store / folder) / EVALUATION).exists():
        return []
    return read_scores(store / folder)
