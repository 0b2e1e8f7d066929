"""The command `genuq study`: the page of a study, from its records and what the store still holds of its runs."""

from __future__ import annotations

import argparse
import itertools
import math
import os
import shlex
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import genuq
from genuq import files
from genuq.errors import ConfigurationError, did_you_mean
from genuq.models import to_bytes
from genuq.report import study_page
from genuq.report.study_verdict import named, own_row
from genuq.report.values import plain, present, words
from genuq.stages.neutral import ELSEWHERE, is_neutral
from genuq.stages.records import RunRecord, read_records, studies_in
from genuq.stages.shards import Shards
from genuq.studies import grid
from genuq.studies.declaration import FILE, Study, read_study

STORE, STUDIES = Path("outputs/store"), Path("outputs/studies")
RUNS_WITH_SAMPLES = 24  # whose samples the page holds; all others have only their numbers and curves
SAMPLES = 512  # of one run
ABSENT_AT_MOST = 1.0  # combinations that are not there, for each that is; with more it was not meant as a grid


def main(arguments: list[str]) -> int:
    """Write the page and say where; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="genuq study",
        description="Write one self-contained HTML page of all runs of a study: a table to sort and filter, the "
        "retention curves of all methods, and score against realism with the samples' images.",
        epilog=f"A folder's {FILE} says the study's question and which runs it asks for; the page then tells what is "
        "not there, and leaves out what was not asked for.",
    )
    parser.add_argument(
        "study",
        metavar="STUDY",
        help=f"its name, as given to its runs (study=NAME; else the sweep's name), or its folder with a {FILE}",
    )
    parser.add_argument("--store", type=Path, default=STORE, help="where the artefacts lie (default: %(default)s)")
    parser.add_argument("--out", type=Path, help=f"the file to write (default: {STUDIES}/NAME/index.html)")
    given = parser.parse_args(arguments)
    declared = read_study(given.study) if (Path(given.study) / FILE).is_file() else None
    name = declared.name if declared else given.study
    out = given.out or STUDIES / name / "index.html"
    study = build_study(given.store, name, out.parent, declared)
    study["page_command"] = shlex.join(["genuq", "study", *arguments])
    page = study_page.render(study)
    files.write_text(out, page)
    print(f"{len(study['runs']):,} runs, {len(page.encode()) / 1e6:.1f} MB. Open {out}")
    return 0


def build_study(
    store: str | Path, study: str, folder: str | Path = ".", declared: Study | None = None
) -> dict[str, Any]:
    """All that the page of a study shows, as plain data and arrays.

    Args:
        store: of the artefacts.
        study: name of the study.
        folder: of the page, from where its links to the runs' reports start.
        declared: what the study asks for, if it says so.
    Returns:
        `name`, `question`, `commands`, `genuq_version`; `keys`, the settings that differ between runs; `runs`, each
        with the `values` of those keys, `seed`, its `summary`, `judge`, `evaluations` by score, curves, and for some
        runs `samples` (a table) and `images` (uint8 (N, C, H, W), or points (N, 2)); how many runs are `asked` for,
        and those that are `absent`, as commands, or the gaps of a grid; names of runs that are `unevaluated`, and of
        those `left_out`, not asked for or made again since.
    Raises:
        ConfigurationError: no run of this study is in the store.
        ArtefactError: a record or an artefact that is not whole.
    """
    store = Path(store)
    records = read_records(store, study)
    if not records:
        raise ConfigurationError(f"No run of study '{study}' is in {store}.{did_you_mean(study, studies_in(store))}")
    done, others = sorted_out(store, records, declared)
    keys = keys_of(done)
    runs = [run_entry(store, record, keys, Path(folder)) for record in done]
    add_samples(store, done, runs)
    counts = [(len(run["samples"]["rows"]), run["samples_total"]) for run in runs if run["samples"]]
    return others | {
        "name": study,
        "question": declared.question if declared else None,
        "commands": list(declared.commands if declared else dict.fromkeys(record.command for record in records)),
        "genuq_version": genuq.__version__,
        "keys": keys,
        "runs": runs,
        "samples_shown": max((shown for shown, _ in counts), default=0),
        "samples_total": max((total for _, total in counts), default=0),
    }


def sorted_out(
    store: Path, records: Sequence[RunRecord], declared: Study | None
) -> tuple[list[RunRecord], dict[str, Any]]:
    """The runs that the page shows, and what it tells of the others."""
    if declared is None:
        done = [record for record in records if record.results.get("summary")]
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
        settings = [flat(record.config) for record in group] if len(group) > 1 else []
        names = dict.fromkeys(name for entry in settings for name in entry if not neutral(name))
        found |= {name: None for name in names if len({words(entry.get(name)) for entry in settings}) > 1}
    return list(found)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"model": {"name": "ddpm"}}` as `{"model.name": "ddpm"}`."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def value_of(record: RunRecord, key: str) -> str:
    """The chosen option of a group, or the value of a setting; what was typed where the configuration has no such."""
    if key in record.choices:
        return words(record.choices[key])
    entry: Any = record.config
    for part in key.split("."):
        entry = entry.get(part) if isinstance(entry, Mapping) else None
    if entry is not None and not isinstance(entry, Mapping):
        return words(entry)
    typed = dict(text.lstrip("+~").split("=", 1) for text in record.overrides if "=" in text)
    return words(typed.get(key))


def run_entry(store: Path, record: RunRecord, keys: Sequence[str], folder: Path) -> dict[str, Any]:
    """One run without its samples."""
    path = artefact(store, record, "evaluate", "evaluation.json")
    evaluation = files.read_json(path) if path else {}
    numbers, ending = record.results.get("numbers") or {}, "/evaluations"
    summary = record.results["summary"]
    return plain(
        {
            "name": record.name,
            "id": record.id,
            "command": record.command,
            "values": [value_of(record, key) for key in keys],
            "seed": record.config.get("seed"),
            "score": own_score(record),
            "summary": summary,
            "judge": record.results.get("judge") or {},
            "seconds": math.fsum(record.seconds.values()),
            "report": link(artefact(store, record, "report", "index.html"), folder),
            "missing": [] if path else ["evaluate"],
            "evaluations": {key.removesuffix(ending): n for key, n in numbers.items() if key.endswith(ending)},
            "scores": [{"name": row["name"], "curves": row["curves"]} for row in evaluation.get("scores", ())],
            "samples": None,
            "samples_total": 0,
        }
    ) | {"images": None}


def own_score(record: RunRecord) -> str | None:
    """Name of the score that the run's summary is about."""
    table = [row["score"] for row in record.results["summary"].get("table") or []]
    configured = (record.config.get("score") or {}).get("name")
    return configured if configured in table else next(iter(table), None)


def artefact(store: Path, record: RunRecord, stage: str, name: str) -> Path | None:
    """A file of a run's artefact; None where it is no longer, or never was."""
    folder = record.artefacts.get(stage)
    path = store / folder / name if folder else None
    return path if path and path.exists() else None


def link(path: Path | None, folder: Path) -> str | None:
    """Where the file lies from the page's folder, as a browser reads it."""
    return None if path is None else urllib.parse.quote(Path(os.path.relpath(path, folder)).as_posix())


def add_samples(store: Path, records: Sequence[RunRecord], runs: Sequence[dict[str, Any]]) -> None:
    """Give some runs their `samples` and `images`; the page cannot hold those of all."""
    for place in with_samples(runs):
        folder, path = (
            artefact(store, records[place], "sample", "."),
            artefact(store, records[place], "evaluate", "evaluation.json"),
        )
        if folder is None or path is None:
            runs[place]["missing"] += ["sample"] if folder is None else []
            continue
        table = plain(files.read_json(path)["samples"])
        chosen = evenly_by_realism(table, SAMPLES)
        images = images_of(folder, chosen)
        if images is not None:
            rows = [table["rows"][row] for row in chosen]
            total = len(table["rows"])
            runs[place] |= {"samples": table | {"rows": rows}, "samples_total": total, "images": images}


def with_samples(runs: Sequence[dict[str, Any]]) -> list[int]:
    """Places of the runs whose samples are shown: all, or as many evenly along the ranking by AUROC, with both ends."""
    aurocs = [own_row(run).get("auroc") for run in runs]
    ranking = sorted(range(len(runs)), key=lambda place: _or_last(aurocs[place]))
    return sorted(ranking[place] for place in evenly(len(runs), RUNS_WITH_SAMPLES))


def evenly(count: int, most: int) -> list[int]:
    """All of `count` places, or `most` of them with even gaps and both ends."""
    return list(range(count)) if count <= most else np.round(np.linspace(0, count - 1, most)).astype(int).tolist()


def evenly_by_realism(table: Mapping[str, Any], most: int) -> list[int]:
    """Rows of the table, in its order. Runs that made the same images under one judge show the same of them."""
    rows, columns = table["rows"], table["columns"]
    column = columns.index("realism") if "realism" in columns else columns.index("index")
    ranking = sorted(range(len(rows)), key=lambda row: _or_last(rows[row][column]))
    return sorted(ranking[place] for place in evenly(len(rows), most))


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
