"""The command `genuq study`: the page of a study, from its records and what the store still holds of its runs."""

from __future__ import annotations

import itertools
import math
import os
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import genuq
from genuq import files
from genuq.analysis.evaluation_entries import EVALUATION, SampleTable, read_evaluation, read_scores
from genuq.config.neutral import ELSEWHERE, is_neutral
from genuq.errors import ConfigurationError, did_you_mean
from genuq.models import to_bytes
from genuq.report.drawing.values import evenly, present, words
from genuq.report.study.runs import StudyRun, StudyRuns
from genuq.report.study.verdict import named, own_auroc
from genuq.store.artefact import brought
from genuq.store.records import RunRecord, read_records, studies_in
from genuq.store.remote import store_folder
from genuq.store.shards import Shards
from genuq.studies import grid
from genuq.studies.declaration import Study

STORE, STUDIES = Path("outputs/store"), Path("outputs/studies")
RUNS_WITH_SAMPLES = 24  # whose samples the page holds; all others have only their numbers and curves
SAMPLES = 512  # of one run
ABSENT_AT_MOST = 1.0  # combinations that are not there, for each that is; with more it was not meant as a grid


def build_study(store: str | Path, study: str, folder: str | Path = ".", declared: Study | None = None) -> StudyRuns:
    """All that the page of a study shows.

    Args:
        store: of the artefacts.
        study: name of the study.
        folder: of the page, from where its links to the runs' reports start.
        declared: what the study asks for, if it says so.
    Raises:
        ConfigurationError: no run of this study is in the store.
        ArtefactError: a record or an artefact that is not whole.
    """
    store = store_folder(store)
    records = read_records(store, study)
    if not records:
        raise ConfigurationError(f"No run of study '{study}' is in {store}.{did_you_mean(study, studies_in(store))}")
    done, others = sorted_out(store, records, declared)
    keys = keys_of(done)
    runs = with_samples(store, done, [run_entry(store, record, keys, Path(folder)) for record in done])
    counts = [(len(run.samples.rows), run.samples_total) for run in runs if run.samples]
    return StudyRuns(
        name=study,
        question=declared.question if declared else None,
        commands=list(declared.commands if declared else dict.fromkeys(record.command for record in records)),
        genuq_version=genuq.__version__,
        keys=keys,
        runs=runs,
        samples_shown=max((shown for shown, _ in counts), default=0),
        samples_total=max((total for _, total in counts), default=0),
        **others,
    )


def sorted_out(
    store: Path, records: Sequence[RunRecord], declared: Study | None
) -> tuple[list[RunRecord], dict[str, Any]]:
    """The runs that the page shows, and what it tells of the others."""
    if declared is None:
        done = [record for record in records if record.results is not None]
        waiting = [record.name for record in records if record not in done]
        return done, {"asked": None, "absent": absent(done), "unevaluated": waiting, "left_out": []}
    found = grid.matched(declared.jobs, records, store)
    return list(found.runs.values()), {
        "asked": len(declared.jobs),
        "absent": [job.command for job in declared.jobs if job not in found.runs],
        "unevaluated": [],
        "left_out": [record.name for record in (*found.strangers, *found.earlier)],
    }


def keys_of(records: Sequence[RunRecord]) -> list[str]:
    """Groups and settings in which the runs differ, those that were typed first, without the seed.

    Where these do not tell two runs apart, whatever else differs between the two is added.
    """
    typed = [text.split("=", 1)[0].lstrip("+~") for record in records for text in record.overrides]
    groups = [group for record in records for group in record.choices]
    keys = [key for key in dict.fromkeys((*typed, *groups)) if not neutral(key) and _differ(records, key)]
    return keys + [key for key in untold(records, keys) if key not in keys]


def neutral(key: str) -> bool:
    return key in ELSEWHERE or is_neutral(key)


def _differ(records: Iterable[RunRecord], key: str) -> bool:
    return len({value_of(record, key) for record in records}) > 1


def untold(records: Sequence[RunRecord], keys: Sequence[str]) -> list[str]:
    """Settings that differ between runs with the same values and seed."""
    same: dict[tuple[str, ...], list[RunRecord]] = {}
    for record in records:
        same.setdefault((*(value_of(record, key) for key in keys), seed_of(record)), []).append(record)
    found: dict[str, None] = {}
    for group in same.values():
        settings = [files.flattened(record.config) for record in group] if len(group) > 1 else []
        names = dict.fromkeys(name for entry in settings for name in entry if not neutral(name))
        found |= {name: None for name in names if len({words(entry.get(name)) for entry in settings}) > 1}
    return list(found)


def value_of(record: RunRecord, key: str) -> str:
    """The chosen option of a group, or the value of a setting; what was typed where the configuration has no such."""
    if key in record.choices:
        return words(record.choices[key])
    entry = files.looked_up(record.config, key)
    if entry is not None and not isinstance(entry, Mapping):
        return words(entry)
    typed = dict(text.lstrip("+~").split("=", 1) for text in record.overrides if "=" in text)
    return words(typed.get(key))


def run_entry(store: Path, record: RunRecord, keys: Sequence[str], folder: Path) -> StudyRun:
    """One run without its samples."""
    path, ending = artefact(store, record, "evaluate", EVALUATION), "/evaluations"
    results, scores = record.evaluated, read_scores(path.parent) if path else []
    return StudyRun(
        name=record.name,
        id=record.id,
        command=record.command,
        values=[value_of(record, key) for key in keys],
        seed=record.config.get("seed"),
        score=own_score(record),
        summary=results.summary,
        judge=results.judge,
        seconds=math.fsum(record.seconds.values()),
        report=link(artefact(store, record, "report", "index.html"), folder),
        missing=[] if path else ["evaluate"],
        evaluations={key.removesuffix(ending): n for key, n in results.numbers.items() if key.endswith(ending)},
        curves={entry.name: entry.curves for entry in scores},
    )


def own_score(record: RunRecord) -> str:
    """Name of the score that the run's summary is about."""
    table = [row.score for row in record.evaluated.summary.table]
    configured = (record.config.get("score") or {}).get("name")
    return configured if configured in table else table[0]


def artefact(store: Path, record: RunRecord, stage: str, name: str) -> Path | None:
    """A file of a run's artefact; None where it is no longer, or never was."""
    folder = record.artefacts.get(stage)
    path = brought(store / folder) / name if folder else None
    return path if path and path.exists() else None


def link(path: Path | None, folder: Path) -> str | None:
    """Where the file lies from the page's folder, as a browser reads it."""
    return None if path is None else urllib.parse.quote(Path(os.path.relpath(path, folder)).as_posix())


def with_samples(store: Path, records: Sequence[RunRecord], runs: Sequence[StudyRun]) -> list[StudyRun]:
    """The runs, some of them with their samples and images: the page cannot hold those of all."""
    chosen = shown_with_samples(runs)
    return [sampled(store, records[n], run) if n in chosen else run for n, run in enumerate(runs)]


def sampled(store: Path, record: RunRecord, run: StudyRun) -> StudyRun:
    """A run with its samples and images, as far as the store still has them."""
    folder, path = artefact(store, record, "sample", "."), artefact(store, record, "evaluate", EVALUATION)
    if folder is None:
        return replace(run, missing=[*run.missing, "sample"])
    if path is None:
        return run
    table = read_evaluation(path.parent).samples
    chosen = evenly_by_realism(table, SAMPLES)
    images = images_of(folder, chosen)
    if images is None:
        return run
    rows = [table.rows[row] for row in chosen]
    return replace(run, samples=replace(table, rows=rows), samples_total=len(table.rows), images=images)


def shown_with_samples(runs: Sequence[StudyRun]) -> list[int]:
    """Places of the runs whose samples are shown: all, or as many evenly along the ranking by AUROC, with both ends."""
    aurocs = [own_auroc(run).value for run in runs]
    ranking = sorted(range(len(runs)), key=lambda place: _or_last(aurocs[place]))
    return sorted(ranking[place] for place in evenly(len(runs), RUNS_WITH_SAMPLES))


def evenly_by_realism(table: SampleTable, most: int) -> list[int]:
    """Rows of the table, in its order. Runs that made the same images under one judge show the same of them."""
    column = table.column("realism" if "realism" in table.columns else "index")
    ranking = sorted(range(len(column)), key=lambda row: _or_last(column[row]))
    return sorted(ranking[place] for place in evenly(len(column), most))


def _or_last(value: Any) -> float:
    return value if present(value) else math.inf


def images_of(folder: Path, chosen: Sequence[int]) -> np.ndarray | None:
    """The unperturbed samples at these places, uint8 (N, C, H, W), or points (N, 2); None for any other form."""
    found, parts = Shards(folder), []
    for path, rows in zip(found.paths, found.ranges):
        images = files.read_rows(path, "image", 0, len(rows))
        inside = images[[place - rows.start for place in chosen if place in rows]]
        parts.append((to_bytes(inside) if images.ndim == 4 else inside).numpy())
    whole = np.concatenate(parts)
    shown = whole.shape[1] in (1, 3) if whole.ndim == 4 else whole.shape[1:] == (2,)
    return whole if shown and len(whole) == len(chosen) else None


def absent(records: Sequence[RunRecord]) -> list[str]:
    """Combinations of the values and seeds that no run has, where the runs look like a grid with gaps."""
    keys = keys_of(records)
    rows = [(*(value_of(record, key) for key in keys), seed_of(record)) for record in records]
    columns = [list(dict.fromkeys(column)) for column in zip(*rows)]
    there = set(rows)
    if math.prod(map(len, columns)) - len(there) > ABSENT_AT_MOST * len(there):
        return []
    return [named((*keys, "seed"), row) for row in itertools.product(*columns) if row not in there]


def seed_of(record: RunRecord) -> str:
    return words(record.config.get("seed"))
