"""What is kept of a finished run for its study: one small JSON file, from which tables and pages are made.

Curves, columns of samples and images stay in the artefacts that the record points to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from genuq import entries, files
from genuq.analysis.results import RunResults
from genuq.errors import ArtefactError, ConfigurationError
from genuq.store.remote import remote_of

RUNS = "runs"  # in the store, a folder a study below it


@dataclass(frozen=True)
class RunRecord:
    """A run, finished or not.

    Attributes:
        study: that the run belongs to; a sweep's jobs share it.
        name: of the run within the study: its swept overrides `model=ddpm,seed=1`, or the run's own name.
        id: 16 hexadecimal digits of everything that the results depend on.
        command: that made it.
        overrides: of this job, as typed.
        choices: the chosen option of every group; None of one of which none was chosen.
        config: the resolved configuration.
        artefacts: by stage, the path of its folder relative to the store, made or not; `posterior.NAME` are those of
            the posteriors.
        seconds: by stage, what making its artefact took; those that are finished.
        results: `summary` and `judge` of the evaluation, and `numbers`, by name: `entropy/auroc`,
            `entropy/auroc_low`, `fid`; None where one could not be computed. None for a run that was not evaluated.
        folder: of the run, relative to the store.
    """

    study: str
    name: str
    id: str
    command: str
    overrides: tuple[str, ...]
    choices: dict[str, str | None]
    config: dict[str, Any]
    artefacts: dict[str, str]
    seconds: dict[str, float]
    results: RunResults | None
    folder: str = ""

    @property
    def evaluated(self) -> RunResults:
        """The results of a run that was evaluated."""
        assert self.results is not None, f"run {self.name} has no results"
        return self.results


def write_record(store: str | Path, record: RunRecord) -> Path:
    """Write the record, whole or not at all, over an earlier one of the same run; returns its path.

    Raises:
        ConfigurationError: the study's name or the run's id cannot be a file's.
    """
    path = record_path(store, record.study, record.id)
    entry = files.plain(record)
    files.write_json(path, entry | {"results": entry["results"] or {}})
    if (remote := remote_of(Path(store))) is not None:
        remote.send(path)
    return path


def record_path(store: str | Path, study: str, run: str) -> Path:
    """Where the record of a run lies."""
    if not re.fullmatch(r"[0-9a-f]{16}", run):
        raise ConfigurationError(f"The id of a run is 16 hexadecimal digits, not '{run}'.")
    return study_folder(store, study) / f"{run}.json"


def study_folder(store: str | Path, study: str) -> Path:
    """Where the records of a study lie."""
    if not re.fullmatch(r"\w[\w .,=+@-]*", study) or len(study.encode()) > files.LONGEST:
        raise ConfigurationError(
            f"study = '{study[: files.LONGEST]}' (else name) names a folder: give letters, digits and any of "
            f"_ . , = + @ - and spaces, beginning with a letter or digit, and at most {files.LONGEST} bytes."
        )
    return Path(store) / RUNS / study


def studies_in(store: str | Path) -> list[str]:
    """Names of the studies that have runs in the store."""
    return sorted(folder.name for folder in (Path(store) / RUNS).glob("*") if any(folder.glob("*.json")))


def read_records(store: str | Path, study: str | None = None) -> list[RunRecord]:
    """The runs of a study, or of all studies, sorted by name; none where there are none.

    Raises:
        ArtefactError: a record that is not whole, by its path.
    """
    if (remote := remote_of(Path(store))) is not None:
        remote.bring_records()
    folder = Path(store) / RUNS if study is None else study_folder(store, study)
    paths = folder.glob("*/*.json" if study is None else "*.json")
    return sorted((read_record(path) for path in paths), key=lambda record: (record.name, record.id))


def read_record(path: str | Path) -> RunRecord:
    """One record.

    Raises:
        ArtefactError: it is missing, not JSON, or not a record.
    """
    entry = files.read_json(path)
    known = get_type_hints(RunRecord)
    if not isinstance(entry, dict) or set(entry) != set(known):
        difference = sorted(set(entry) ^ set(known)) if isinstance(entry, dict) else [type(entry).__name__]
        raise _broken(path, f"it lacks, or has besides, {', '.join(difference)}")
    for field in fields(RunRecord):
        kind = {"overrides": list}.get(field.name, str if known[field.name] is str else dict)
        if not isinstance(entry[field.name], kind):
            raise _broken(path, f"'{field.name}' is a {type(entry[field.name]).__name__}, not a {kind.__name__}")
    return RunRecord(
        **entry | {"overrides": tuple(map(str, entry["overrides"])), "results": _results(path, entry["results"])}
    )


def _results(path: str | Path, entry: dict[str, Any]) -> RunResults | None:
    try:
        return entries.from_json(RunResults, entry, "results") if entry else None
    except ArtefactError as error:
        raise _broken(path, str(error).rstrip(".")) from error


def _broken(path: str | Path, what: str) -> ArtefactError:
    return ArtefactError(f"{path} is not the record of a run: {what}. Delete it and run the study's command again.")
