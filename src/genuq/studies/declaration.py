"""What a study declares in its study.yaml: its question, the runs that it asks for, and the table that they make."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from genuq.errors import ConfigurationError, did_you_mean
from genuq.report.study.published import Published, published
from genuq.report.study.table import Row
from genuq.studies.grid import StudyJob, expected_jobs, parsed, words_of

FILE = "study.yaml"
KEYS = {  # with what each may hold, for messages
    "title": "text",
    "question": "text",
    "command": "the command whose runs these are, or a list of commands",
    "study": "the name under which the runs are recorded",
    "rows": "a list of keys whose values name a row, as [model, posterior]",
    "columns": "a key whose values are columns, or null",
    "seeds": "the key that is averaged over, or null",
    "within": "a list of those of the rows within which the best is sought",
    "scores": "a list of scores, each a row of its own",
    "measures": "a list of names, or of {name, label, better, digits}",
    "curves": "a list of metrics whose retention curves are drawn, as [fid]",
    "published": "a list of names of published.yaml",
}
REQUIRED = ("title", "question", "command", "rows", "measures")
MEASURE_KEYS = ("name", "label", "better", "digits")
SCORE = "score"  # the key of a row that holds a score's name


@dataclass(frozen=True)
class Wanted:
    """A measure as declared; None where its default is to be used."""

    name: str
    label: str | None = None
    better: str | None = None
    digits: int | None = None


@dataclass(frozen=True)
class Study:
    """A study as declared; see `KEYS`."""

    name: str
    title: str
    question: str
    commands: tuple[str, ...]
    rows: Row
    columns: str | None
    seeds: str | None
    measures: tuple[Wanted, ...]
    within: Row = ()
    scores: Row = ()
    curves: Row = ("fid",)
    published: tuple[Published, ...] = ()

    @cached_property
    def jobs(self) -> tuple[StudyJob, ...]:
        """Every run that the commands ask for, once, in their order."""
        return expected_jobs(self.commands, self.rows, self.columns, self.seeds, self.name)


def read_study(folder: str | Path) -> Study:
    """The study declared in a folder.

    Raises:
        ConfigurationError: what is wrong with study.yaml: the key, its value, and the remedy.
    """
    folder = Path(folder)
    path = folder / FILE
    if not os.path.isfile(path):
        raise ConfigurationError(f"{path} does not exist. A study is a folder with a {FILE} that gives {_all_keys()}.")
    try:
        entry = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not YAML: {' '.join(str(error).split())}. Correct it.") from error
    try:
        return _study(entry, folder.resolve().name)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _study(entry: Any, folder: str) -> Study:
    if not isinstance(entry, dict):
        raise ConfigurationError(f"it holds no keys; give {_all_keys()}.")
    for key in entry:
        if key not in KEYS:
            raise ConfigurationError(f"'{key}' is not a key of a study.{did_you_mean(str(key), KEYS)}")
    for key in REQUIRED:
        if not entry.get(key):
            raise ConfigurationError(f"{key} is missing; give {KEYS[key]}.")
    commands = tuple(_texts(entry, "command", alone=True))
    study = Study(
        name=_text(entry, "study") or _named_by(commands) or folder,
        title=_text(entry, "title"),
        question=_text(entry, "question"),
        commands=tuple(" ".join(command.split()) for command in commands),
        rows=_texts(entry, "rows"),
        columns=_text(entry, "columns") or None,
        seeds=_text(entry, "seeds") or None,
        measures=tuple(_measure(item) for item in _list(entry, "measures")),
        within=_texts(entry, "within"),
        scores=_texts(entry, "scores"),
        curves=_texts(entry, "curves") if "curves" in entry else ("fid",),
        published=tuple(published(_texts(entry, "published"))),
    )
    _check_keys(study)
    return study


def _check_keys(study: Study) -> None:
    keys = [*study.rows, *filter(None, (study.columns, study.seeds))]
    for key in keys:
        if keys.count(key) > 1 or (key == SCORE and study.scores):
            raise ConfigurationError(f"'{key}' stands twice among rows, columns, seeds and scores. Name it once.")
    if any(key == "scale" for job in study.jobs for key, _ in job.settings):
        raise ConfigurationError("command: it sets scale, which is for whoever runs it to add. Take it away.")
    for key in study.within:
        if key not in (*study.rows, *((SCORE,) if study.scores else ())):
            raise ConfigurationError(f"within: '{key}' is not one of the rows.{did_you_mean(key, study.rows)}")
    names = [measure.name for measure in study.measures]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"measures: '{name}' stands there twice. Name it once.")
    assert study.jobs  # the commands are checked before anything is read


def _named_by(commands: Sequence[str]) -> str:
    """The study that the commands themselves name."""
    given = [argument for command in commands for argument in words_of(command) if argument.startswith("study=")]
    names = {str(parsed(argument.removeprefix("study="))) for argument in given}
    if len(names) > 1:
        raise ConfigurationError(f"The commands name several studies: {', '.join(sorted(names))}. Name one.")
    return next(iter(names), "")


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{key} = {value!r}; give {KEYS[key]}.")
    return (value or "").strip()


def _list(entry: Mapping[str, Any], key: str, alone: bool = False) -> list[Any]:
    value = entry.get(key) or []
    if alone and isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise ConfigurationError(f"{key} = {value!r}; give {KEYS[key]}.")
    return value


def _texts(entry: Mapping[str, Any], key: str, alone: bool = False) -> Row:
    values = _list(entry, key, alone)
    if not all(isinstance(value, str) for value in values):
        raise ConfigurationError(f"{key} = {values!r}; give {KEYS[key]}.")
    return tuple(values)


def _measure(item: Any) -> Wanted:
    given = {"name": item} if isinstance(item, str) else item
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise ConfigurationError(f"measures: {item!r} has no name; give {KEYS['measures']}.")
    for key in given:
        if key not in MEASURE_KEYS:
            raise ConfigurationError(
                f"measures: '{key}' is not a key of a measure.{did_you_mean(str(key), MEASURE_KEYS)}"
            )
    if given.get("better") not in (None, "higher", "lower"):
        raise ConfigurationError(f"measures: better = {given['better']!r} of '{given['name']}'; give higher or lower.")
    digits = given.get("digits")
    if digits is not None and (not isinstance(digits, int) or isinstance(digits, bool) or not 0 <= digits <= 12):
        raise ConfigurationError(f"measures: digits = {digits!r} of '{given['name']}'; give 0 to 12 decimal places.")
    return Wanted(**given)


def _all_keys() -> str:
    return ", ".join(REQUIRED)
