"""What a run or a sweep will take, before it starts: artefacts, network evaluations, time, disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from genuq.config.compose import configurations
from genuq.config.job import Job
from genuq.config.schemas import folder_name
from genuq.config.sweeps import Sweep, sweep_of
from genuq.errors import ConfigurationError, GenuqError
from genuq.pipeline import preflight
from genuq.pipeline.configured import description_of, model_part, plugged_model
from genuq.pipeline.execute import STAGES, asked
from genuq.pipeline.inputs import UNREAD, is_outlined
from genuq.planning.calibration import Calibration
from genuq.planning.cards import Card
from genuq.planning.costs import work_of
from genuq.planning.history import History, TimeEstimate
from genuq.planning.operations import KINDS, Operations, precision_of
from genuq.planning.planned import Memory, PlannedRun
from genuq.planning.work import Piece, Work
from genuq.store.artefact import StageFolder
from genuq.store.disk import free_bytes
from genuq.store.shards import PATTERN
from genuq.store.store import size_of

CPU_RATE = 1e11  # operations a second of text encoders, which a run has on the CPU; by a rule
MEASURED, RULE = (0.6, 1.7), (0.3, 3.0)  # range of a time over its estimate, measured or by a rule
MAKING, JUDGING = ("train", "judge", "posterior", "fit", "pilot", "sample", "probe"), ("embed", "score", "evaluate")
ORDER = (*MAKING, "propagate", *JUDGING, "apply", "report")


@dataclass
class Needed:
    """One artefact that jobs need, however many of them.

    Attributes:
        name: of the artefact in a run: a stage, or `posterior.NAME`.
        folder: where it lies or will lie.
        run: the first that needs it, which would make it.
        exists: whether it is there.
        jobs: how many need it.
    """

    name: str
    folder: StageFolder
    run: PlannedRun
    exists: bool
    jobs: int = 1

    @property
    def stage(self) -> str:
        return self.name.partition(".")[0]

    @cached_property
    def work(self) -> Work:
        return work_of(self.run, self.name)

    @cached_property
    def left(self) -> float:
        """The share of its samples that are still to be done, where a killed run left finished shards."""
        shards = list(self.folder.path.glob(PATTERN)) if self.stage in ("sample", "probe", "propagate", "embed") else []
        done = sum(int(stop) - int(start) for _, start, stop in (path.stem.split("-") for path in shards))
        return 1 - done / self.run.config.sampler.samples if done else 1.0

    @cached_property
    def bytes(self) -> int:
        """That are still to be written."""
        there = size_of(self.folder.path) if self.folder.path.is_dir() else 0
        return max(0, self.work.bytes - there)


@dataclass(frozen=True)
class PlannedJob:
    """A job of the sweep, with what would stop it before it starts, if anything."""

    name: str
    error: str | None = None


@dataclass
class Plan:
    """Everything that the jobs need, each artefact once.

    Attributes:
        jobs: in the order in which they would run.
        needed: by folder, in the order in which they would be made.
        estimates: by folder, of those that are to be made.
        operations: floating-point operations by folder, where a card was named; None where they cannot be counted.
        card: that times are estimated for; None: this machine.
        failures: what could not be measured or counted, and why.
    """

    jobs: list[PlannedJob] = field(default_factory=list)
    needed: dict[Path, Needed] = field(default_factory=dict)
    estimates: dict[Path, TimeEstimate] = field(default_factory=dict)
    operations: dict[Path, float | None] = field(default_factory=dict)
    card: Card | None = None
    failures: dict[str, str] = field(default_factory=dict)

    def of_stage(self, stage: str) -> list[Needed]:
        return [one for one in self.needed.values() if one.stage == stage]

    @property
    def to_make(self) -> list[Needed]:
        return [one for one in self.needed.values() if not one.exists]

    @property
    def stages(self) -> list[str]:
        """Those that have a part in it."""
        return [stage for stage in ORDER if self.of_stage(stage)]

    def disks(self) -> list[Disk]:
        """What the stores' disks must hold."""
        found: dict[int, Disk] = {}
        for one in self.to_make:
            store = one.run.store
            disk = found.setdefault(device_of(store), Disk(store, free_bytes(store)))
            disk.needed += one.bytes
            disk.passing = max(disk.passing, one.work.passing)
        return list(found.values())

    def estimate(
        self, calibrate: bool, say: Callable[[str], None] = lambda text: None, card: Card | None = None
    ) -> None:
        """Fill in the times: from the store's runs, else measured, else by a rule.

        Args:
            card: for which, where it is not this machine's, they follow from the operations that a network takes.
        """
        memory = next(iter(self.needed.values())).run.memory if self.needed else planning_memory()
        here = card is None or card.is_here
        histories = {store: History(store, memory) for store in {one.run.store for one in self.to_make} if here}
        calibration, operations = Calibration(say), Operations(say)
        for one in self.to_make:
            known = histories[one.run.store].estimate(one.name, one.work) if here else None
            clock = Clock(one.run, calibration if calibrate else None, operations, card)
            self.estimates[one.folder.path] = (known or estimated(one, clock)).times(one.left)
            if card is not None:
                self.operations[one.folder.path] = clock.operations_of(one.work.pieces, one.left)
        self.card, self.failures = card, {**calibration.failures, **operations.failures}

    @property
    def unread(self) -> list[Path]:
        """Folders of models whose weights no run has read as they are: what the store has of them cannot be told."""
        runs = [one.run for one in self.needed.values()]
        return list(dict.fromkeys(place for run in runs for place in unread_of(run)))


def unread_of(run: PlannedRun) -> list[Path]:
    """Where the run's model lies, if its weights were not read."""
    part = model_part(run)
    if part is None or not is_outlined(run.memory, description_of(run)):
        return []
    model = plugged_model(run, part)
    return [file.path for file in model.files.values()] if model.built == UNREAD else []


@dataclass
class Disk:
    """A disk that stores lie on.

    Attributes:
        store: one of them.
        free: bytes.
        needed: bytes that stay.
        passing: bytes that come on top while one artefact is made.
    """

    store: Path
    free: int
    needed: int = 0
    passing: int = 0

    @property
    def peak(self) -> int:
        return self.needed + self.passing

    @property
    def fits(self) -> bool:
        return self.peak <= self.free


def device_of(folder: Path) -> int:
    """The disk of a folder that may not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return os.stat(folder).st_dev


@dataclass
class Clock:
    """What tells how long a run's pieces of work take: measurements of this machine, else a card's published peak.

    Attributes:
        calibration: None: nothing is to be measured.
        card: None: this machine.
    """

    run: PlannedRun
    calibration: Calibration | None
    operations: Operations
    card: Card | None = None

    def time(self, piece: Piece) -> TimeEstimate:
        """Of one piece; unknown where nothing tells it."""
        if piece.kind == "rule":
            return by_rule(piece.amount)
        elsewhere = self.card is not None and not self.card.is_here and piece.kind in KINDS
        if piece.kind == "texts" and not elsewhere:
            return by_rule((self.operations.of(self.run, piece) or 0.0) / CPU_RATE)
        if self.calibration is not None and not elsewhere:
            seconds = self.calibration.seconds(self.run, piece)
            if seconds is not None:
                return TimeEstimate(seconds, MEASURED[0] * seconds, MEASURED[1] * seconds, "measured")
        return self._counted(piece)

    def _counted(self, piece: Piece) -> TimeEstimate:
        found = self.operations.of(self.run, piece) if self.card is not None and piece.kind in KINDS else None
        if found is None or self.card is None:
            return TimeEstimate(None)
        return self.card.seconds(found, precision_of(self.run, piece.kind)).times(1 / self.run.processes)

    def operations_of(self, pieces: Iterable[Piece], left: float) -> float | None:
        """Of all pieces that can be counted, for the share that is left; None where one could not be."""
        found = [self.operations.of(self.run, piece) for piece in pieces if piece.amount and piece.kind in KINDS]
        known = [one for one in found if one is not None]
        return left * sum(known) if len(known) == len(found) else None


def by_rule(seconds: float) -> TimeEstimate:
    return TimeEstimate(seconds, RULE[0] * seconds, RULE[1] * seconds, "rule")


def estimated(one: Needed, clock: Clock) -> TimeEstimate:
    """From the pieces of its work."""
    found = [clock.time(piece) for piece in one.work.pieces if piece.amount]
    known = [part for part in found if part.seconds is not None]
    if len(known) < len(found):
        return TimeEstimate(None)
    seconds, low, high = (sum(getattr(part, name) for part in known) for name in ("seconds", "low", "high"))
    beyond_rules = sorted({part.how for part in known} - {"rule"})
    return TimeEstimate(seconds, low, high, " and ".join(beyond_rules) or "rule")


# The jobs


def planning_memory() -> Memory:
    """Of runs that are looked at: what failed is not tried again, and no weights are read where none are needed."""
    return Memory(keeps_errors=True, outlines=True)


def plan_of(texts: Sequence[str], sweeping: bool, command: str = "genuq") -> Plan:
    """What the command `genuq` with these overrides would do.

    Args:
        command: as it will be typed, which the reports will show.

    Raises:
        ConfigurationError: overrides that do not exist, a sweeper of its own, or several values without -m.
    """
    memory, plan = planning_memory(), Plan()
    sweep = sweep_of(["-m", *texts]) if sweeping else None
    if sweeping and (sweep is None or sweep.jobs is None):
        for _ in configurations(texts):  # says what is wrong with them
            pass
        raise ConfigurationError("hydra/sweeper: its jobs are chosen as it goes, which no plan can know. Leave it out.")
    for number, (job, config) in enumerate(configurations(texts)):
        if number and sweep is None:
            raise ConfigurationError("several values separated by commas are a sweep: add -m, or put them into [].")
        run = _opened(config, job, command, sweep, memory)
        plan.jobs.append(PlannedJob(run.job.name or run.config.name, _add(plan, run)))
    return plan


def plan_of_jobs(jobs: Iterable[tuple[DictConfig, Path, Job]], command: str = "genuq") -> Plan:
    """What runs with these configurations would do one after the other.

    Args:
        jobs: of each run its configuration, its folder and where it comes from.
        command: as it will be typed.
    """
    memory, plan = planning_memory(), Plan()
    for config, folder, job in jobs:
        OmegaConf.resolve(config)
        run = PlannedRun(config, folder, command, job, memory=memory)
        plan.jobs.append(PlannedJob(job.name or config.name, _add(plan, run)))
    return plan


def _opened(
    config: DictConfig, overrides: tuple[str, ...], command: str, sweep: Sweep | None, memory: Memory
) -> PlannedRun:
    OmegaConf.resolve(config)
    if sweep is None:
        return PlannedRun(config, Path("outputs") / config.name, command, Job(overrides=overrides), memory=memory)
    name = sweep.job_name(overrides)
    job = Job(name, sweep.folder, overrides)
    return PlannedRun(config, sweep.folder / folder_name(name), command, job, memory=memory)


def _add(plan: Plan, run: PlannedRun) -> str | None:
    """Add what the run needs; of one that would stop before it starts nothing, but why."""
    try:
        preflight.check_settings(run)
        found = {one.folder.path: one for one in needed(run, set(plan.needed))}
        for one in found.values():
            if not one.exists:
                assert one.work.bytes  # what cannot be told is told here, not after the other jobs
    except (GenuqError, OSError) as error:
        return str(error)
    for path, one in found.items():
        if path in plan.needed:
            plan.needed[path].jobs += 1
        else:
            plan.needed[path] = one
    return None


def needed(run: PlannedRun, coming: set[Path]) -> Iterator[Needed]:
    """The artefacts that the run asks for, in the order in which they are made.

    Args:
        coming: folders of those that earlier jobs will have made.

    Raises:
        ArtefactError: one that is altered, or one that would be missing.
    """
    made = set(coming)
    for name in asked(run):
        stage = STAGES[name]
        folder = stage.folder(run)
        one = Needed(name, folder, run, folder.path not in coming and folder.is_current())
        if not one.exists and folder.path not in coming and not unread_of(run):
            stage.require_upstream(run, made)
        if name == "fit":
            yield from _posteriors(run, one, coming)
        made.add(folder.path)
        yield one


def _posteriors(run: PlannedRun, fit: Needed, coming: set[Path]) -> Iterator[Needed]:
    """Those that the fit gathers; where it is there, they need not be."""
    for name in run.posteriors():
        folder = run.artefacts[f"posterior.{name}"]
        exists = folder.path not in coming and folder.is_current()
        if exists or not fit.exists:
            yield Needed(f"posterior.{name}", folder, run, exists)
