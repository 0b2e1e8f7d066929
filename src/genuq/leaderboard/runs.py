"""The runs that a leaderboard's samples come from: checked all at once, made one after the other, saved as sets."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path

import yaml
from omegaconf import DictConfig

from genuq import files
from genuq.config.compose import choices_of, config_directory, configurations, prepared
from genuq.config.finished import is_finished, stamp_path
from genuq.config.job import Job
from genuq.errors import ArtefactError, ConfigurationError, GenuqError
from genuq.leaderboard.board import Board
from genuq.leaderboard.manifest import SET
from genuq.leaderboard.results import Condition
from genuq.leaderboard.saved import SavedSet
from genuq.planning.plan import Plan, plan_of_jobs

RUNS, SETS = "runs", "sets"  # folders below that of the leaderboard


@dataclass(frozen=True)
class BoardRun:
    """A run that the board asks for.

    Attributes:
        overrides: as declared.
        folder: of the run.
        set_folder: of what is saved of it.
        board_folder: of the runs of all conditions; the stamps by which finished runs are known go by it.
    """

    condition: Condition
    overrides: tuple[str, ...]
    folder: Path
    set_folder: Path
    board_folder: Path

    @property
    def is_finished(self) -> bool:
        """Whether the run ended well before, and nothing that it made or read has changed since."""
        store = store_of(self.overrides)
        return is_finished(stamp_path(store, self.board_folder, self.overrides), store)

    @cached_property
    def config(self) -> DictConfig:
        """The configuration, which takes a second or more to compose.

        Raises:
            ConfigurationError: overrides that cannot be, with the condition that they are of.
        """
        try:
            found = [config for _, config in configurations(prepared(self.overrides))]
        except ConfigurationError as error:
            raise ConfigurationError(f"{in_words(self.condition)}: {error}") from error
        if len(found) > 1:
            raise ConfigurationError(
                f"{in_words(self.condition)}: several values separated by commas are a sweep; a condition is one run. "
                "Put them into [] where a list is meant."
            )
        return found[0]

    @property
    def job(self) -> Job:
        """Where the configuration comes from."""
        return Job(self.condition.folder, self.board_folder, self.overrides)

    def with_choices(self) -> Job:
        """The same with the chosen options, for the record of the run."""
        return replace(self.job, choices=choices_of(prepared(self.overrides)))


def runs_of(board: Board, out: Path) -> list[BoardRun]:
    """The runs of a board; `out` is the folder of the leaderboard."""
    return [
        BoardRun(
            one.condition,
            one.overrides,
            out / RUNS / one.condition.folder,
            out / SETS / one.condition.folder,
            (out / RUNS).absolute(),
        )
        for one in board.wanted
    ]


def store_of(overrides: Sequence[str]) -> Path:
    """Where the artefacts of a run with these overrides lie, without composing them."""
    given = [text.removeprefix("store=") for text in overrides if text.startswith("store=")]
    return Path(given[-1] if given else _default_store()).expanduser().absolute()


@cache
def _default_store() -> str:
    return str(yaml.safe_load((config_directory() / "config.yaml").read_text(encoding="utf-8"))["store"])


def in_words(condition: Condition) -> str:
    """A condition as a person reads it."""
    return f"{condition.data}, {condition.sampler}, training seed {condition.seed}"


def plan_of(runs: Iterable[BoardRun], command: str) -> Plan:
    """What making them will take; a run that would stop before it starts has the reason."""
    return plan_of_jobs([(one.config.copy(), one.folder, one.job) for one in runs], command)


def require_sound(plan: Plan) -> None:
    """Raise ConfigurationError where a run would stop before it starts."""
    for job in plan.jobs:
        if job.error:
            raise ConfigurationError(f"{job.name}: {job.error}")


# What is saved of them


def is_saved(run: BoardRun) -> bool:
    """Whether the set of a finished run was saved, of the artefacts that the run has now."""
    try:
        made_from = SavedSet.open(run.set_folder).manifest.made_from
        return all(_fingerprint(run.folder / stage) == known for stage, known in made_from.items())
    except (GenuqError, OSError):
        return False


def _fingerprint(stage: Path) -> str:
    return str(files.read_json(stage / "manifest.json")["fingerprint"])


def save(run: BoardRun) -> None:
    """Write the set of a finished run, in place of an earlier one."""
    if run.set_folder.exists():
        shutil.rmtree(run.set_folder)
    SavedSet.write(run.folder, run.set_folder, run.condition)


def saved_below(folder: Path) -> list[SavedSet]:
    """The saved sets below a folder, or in it, by condition.

    Raises:
        ArtefactError: there is none; or one that is not whole, or two of one condition.
    """
    found = sorted(_opened(folder), key=lambda one: (one.condition.data, one.condition.sampler, one.condition.seed))
    if not found:
        raise ArtefactError(f"{folder} holds no saved set (no {SET} in it or below it). Give the folder of some.")
    for one, other in pairwise(found):
        if one.condition == other.condition:
            raise ArtefactError(
                f"{one.folder} and {other.folder} are both of {in_words(one.condition)}. Take one of them away."
            )
    return found


def _opened(folder: Path) -> Iterator[SavedSet]:
    for path in folder.rglob(SET):
        yield SavedSet.open(path.parent)
