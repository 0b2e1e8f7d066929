"""The runs that a study's commands ask for, and which record is of which."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from genuq import files
from genuq.config.compose import jobs
from genuq.config.job import NULLABLE
from genuq.config.neutral import is_neutral
from genuq.config.options import NONE
from genuq.errors import ArtefactError, ConfigurationError, did_you_mean
from genuq.report.study.table import Row
from genuq.store.records import RunRecord, record_path


@dataclass(frozen=True)
class StudyJob:
    """A run that the study asks for.

    Attributes:
        row: values of the keys that name its row.
        column: value of the key of columns; empty without one.
        seed: what it is averaged over; empty without one.
        settings: what the command says of it, by key, in a form that can be compared.
        command: that makes it alone.
    """

    row: Row
    column: str
    seed: str
    settings: tuple[tuple[str, str], ...]
    command: str


def expected_jobs(
    commands: Iterable[str], rows: Row, columns: str | None, seeds: str | None, study: str
) -> tuple[StudyJob, ...]:
    """Every run that the commands ask for, once, in their order.

    Args:
        study: that the commands' runs are recorded under, which a run that is made alone must be told.

    Raises:
        ConfigurationError: a command that is none, a key that no command sets, or a cell that would mix runs.
    """
    shown = {"rows": rows, "columns": (columns,) if columns else (), "seeds": (seeds,) if seeds else ()}
    named = {"study": study if re.fullmatch(r"[\w.-]+", study) else f"'{study}'"}
    found: dict[Any, StudyJob] = {}
    for command in commands:
        listed = _settings(command)
        _require_shown(command, listed, shown)
        for settings in listed:
            job = _job(named | settings, rows, columns, seeds)
            known = found.setdefault((job.row, job.column, job.seed), job)
            if known.settings != job.settings:
                raise ConfigurationError(
                    f"Two runs would stand in one cell: '{known.command}' and '{job.command}'. "
                    f"Add what differs between them to rows."
                )
    return tuple(found.values())


def _settings(command: str) -> list[dict[str, str]]:
    """The overrides of each job, by key."""
    arguments = words_of(command)[1:]
    listed = jobs([argument for argument in arguments if not argument.startswith("-")])
    found = [dict(text.split("=", 1) for text in job if "=" in text) for job in listed]
    if len(found) > 1 and not {"-m", "--multirun"} & set(arguments):
        raise ConfigurationError(f"command: '{command}' sweeps without -m. Write genuq -m ...")
    return found


def words_of(command: str) -> list[str]:
    """The words of a command, as a shell has them.

    Raises:
        ConfigurationError: it is not one of genuq's.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigurationError(f"command: '{command}' cannot be read ({error}). Correct its quotes.") from error
    if not words or words[0] != "genuq":
        raise ConfigurationError(f"command: '{command}' does not begin with genuq. Give a line as `genuq -m ...`.")
    return words


def _require_shown(command: str, listed: Sequence[Mapping[str, str]], shown: Mapping[str, Sequence[str]]) -> None:
    """Every shown key is one of the command's, and every swept key is shown: no cell mixes runs."""
    for place, keys in shown.items():
        for key in keys:
            if key not in listed[0]:
                raise ConfigurationError(
                    f"{place}: '{key}' is not set by the command '{command}'. Add {key}=... to it, or take it away."
                    f"{did_you_mean(key, listed[0])}"
                )
    used = {key for keys in shown.values() for key in keys}
    for key in listed[0]:
        values = list(dict.fromkeys(job[key] for job in listed))
        if len(values) > 1 and key not in used and not is_neutral(key):
            raise ConfigurationError(
                f"The command sweeps {key}={','.join(values)}, which is neither in rows nor columns nor seeds: "
                f"a cell would mix its values. Add it to rows, as [{', '.join([*shown['rows'], key])}]."
            )


def _job(settings: Mapping[str, str], rows: Row, columns: str | None, seeds: str | None) -> StudyJob:
    words = {key: value if isinstance(value := parsed(text), str) else text for key, text in settings.items()}
    return StudyJob(
        row=tuple(words[key] for key in rows),
        column=words[columns] if columns else "",
        seed=words[seeds] if seeds else "",
        settings=tuple((key, chosen(key, parsed(settings[key]))) for key in sorted(settings) if not is_neutral(key)),
        command=shlex.join(["genuq", *(f"{key}={text}" for key, text in settings.items())]),
    )


@cache
def parsed(text: str) -> Any:
    """The value of an override as Hydra reads it."""
    try:
        return OverridesParser.create().parse_override(f"key={text}").value()
    except HydraException as error:
        raise ConfigurationError(f"'{text}' is not a value that Hydra reads. Quote it.") from error


def comparable(value: Any) -> str:
    """A value in a form in which what was typed equals what was resolved: `1e-3` and 0.001, 1 and 1.0."""
    if value is None or value in ("null", "None"):
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(float(value))
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {comparable(value[key])}' for key in sorted(value))}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(comparable, value))}]"
    return str(value)


def chosen(key: str, value: Any) -> str:
    """What was typed of a key in a comparable form: `propagator=none` is to leave the propagator out."""
    return comparable(None if value == NONE and key.lstrip("+~") in NULLABLE else value)


@dataclass(frozen=True)
class Matched:
    """The records of a study beside what it asks for.

    Attributes:
        runs: the evaluated run of each job that has one.
        earlier: records of runs that were made again, under other settings or another version.
        strangers: records of runs that the commands do not ask for.
    """

    runs: dict[StudyJob, RunRecord]
    earlier: list[RunRecord]
    strangers: list[RunRecord]


def matched(wanted: Sequence[StudyJob], records: Iterable[RunRecord], store: str | Path) -> Matched:
    """Find each job's record by its settings. Of several, that which was written last counts.

    Raises:
        ArtefactError: two records of a job were written at once, so that none is the last.
    """
    by_settings = {job.settings: job for job in wanted}
    keys = dict.fromkeys(tuple(key for key, _ in job.settings) for job in wanted)
    found: dict[StudyJob, list[RunRecord]] = {}
    strangers = []
    for record in records:
        of_record = (tuple((key, setting_of(record, key)) for key in names) for names in keys)
        job = next((by_settings[settings] for settings in of_record if settings in by_settings), None)
        if job is None:
            strangers.append(record)
        elif record.results is not None:
            found.setdefault(job, []).append(record)
    runs = {job: _latest(found[job], store) for job in wanted if job in found}
    earlier = [record for job, several in found.items() for record in several if record != runs[job]]
    return Matched(runs, earlier, strangers)


def setting_of(record: RunRecord, key: str) -> str:
    """A setting of a run in a comparable form: as it was typed, else as chosen, else as resolved."""
    typed = dict(text.split("=", 1) for text in record.overrides if "=" in text)
    if key in typed:
        return chosen(key, parsed(typed[key]))
    bare = key.lstrip("+~")
    if bare in record.choices:
        return comparable(record.choices[bare])
    return comparable(files.looked_up(record.config, bare, missing=""))


def _latest(records: Sequence[RunRecord], store: str | Path) -> RunRecord:
    if len(records) == 1:
        return records[0]
    paths = {record.id: record_path(store, record.study, record.id) for record in records}
    *_, before, last = sorted((path.stat().st_mtime_ns, run) for run, path in paths.items())
    if before[0] == last[0]:
        raise ArtefactError(
            f"{paths[before[1]]} and {paths[last[1]]} are records of the same run, written at the same time. "
            "Delete the one that no longer counts."
        )
    return next(record for record in records if record.id == last[1])
