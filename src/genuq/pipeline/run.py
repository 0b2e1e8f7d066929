"""One run: its configuration, its folder, where its artefacts lie, and where it comes from."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch
from omegaconf import DictConfig, OmegaConf

from genuq import files
from genuq.config.job import Job
from genuq.display import Display
from genuq.errors import ArtefactError, ConfigurationError
from genuq.parallel.hardware import Hardware
from genuq.pipeline.inputs import available
from genuq.pipeline.memory import Memory
from genuq.store.artefact import StageFolder
from genuq.store.remote import store_folder
from genuq.store.scales import at_scale

MAIN_POSTERIOR = "draws"  # what the draws of the main posterior are called among all of them


class Tracker(Protocol):
    """Looks on while a run goes; no result depends on it."""

    def training_logger(self, run: Run, stage: str, part: str, display: Display) -> Any:
        """Lightning's logger of one training, of which a stage may have several; False for none."""

    def observe(self, run: Run, stage: str, folder: StageFolder, display: Display) -> None:
        """Log a finished stage, whether it was made now or found."""


class NoTracker:
    """Nobody looks on."""

    def training_logger(self, run: Run, stage: str, part: str, display: Display) -> Any:
        return False

    def observe(self, run: Run, stage: str, folder: StageFolder, display: Display) -> None:
        return


@dataclass
class Run:
    """Configuration and folder of a run.

    Attributes:
        config: resolved and checked against the schemas.
        folder: of the run, with a link to the artefact of each stage.
        command: what the user typed, for the report.
        job: where the configuration comes from.
        artefacts: those of the stages, once they were asked for.
        verified: stages whose artefacts were read through and found whole.
        tracker: looks on.
        read: state (`files.state_of`) of the files and folders outside the store that the artefacts depend on.
        memory: of what was opened for one stage, for the others.
        inputs: what the stages declare, once they were asked for.
    """

    config: DictConfig
    folder: Path
    command: str
    job: Job = field(default_factory=Job)
    artefacts: dict[str, StageFolder] = field(default_factory=dict)
    verified: set[str] = field(default_factory=set)
    read: dict[str, list[int | str]] = field(default_factory=dict)
    tracker: Tracker = field(default_factory=NoTracker)
    memory: Memory = field(default_factory=Memory)
    inputs: dict[str, Any] = field(default_factory=dict)

    @property
    def keeps_contents(self) -> bool:
        """Whether the store is to remember the fingerprints of its data."""
        return True

    @property
    def store(self) -> Path:
        """Where all artefacts lie; runs may share it."""
        return store_folder(self.config.store)

    @property
    def study(self) -> str:
        """The study that the run belongs to: the configured one, or its sweep, or itself; each at the run's scale."""
        return at_scale(self.config.study or (self.job.sweep.name if self.job.sweep else self.config.name), self.scale)

    @property
    def scale(self) -> str:
        """The scale that the run is made at, by name."""
        return str(self.config.scale.name)

    def sha256(self, path: str | Path) -> str:
        """Of a file that an artefact depends on; remembered.

        Raises:
            ConfigurationError: there is no such file.
        """
        path = Path(path).expanduser().absolute()
        if not path.is_file():
            raise ConfigurationError(f"{path} does not exist, but the configuration names it. Correct the path.")
        self.read[str(path)] = files.state_of(path)
        return _sha256(path, *self.read[str(path)])

    def sha256_of_folder(self, path: str | Path) -> str:
        """Of the names and bytes of all files of a folder that an artefact depends on; remembered."""
        path = Path(path).expanduser().absolute()
        self.read[str(path)] = files.state_of(path)
        return _sha256_of_folder(path, *self.read[str(path)])

    def path(self, stage: str) -> Path:
        """The artefact of a stage whose turn has come, or that an input of it depends on."""
        self.artefacts[stage].bring()
        return self.artefacts[stage].path

    def link(self, stage: str) -> None:
        """Make FOLDER/STAGE a link to the stage's artefact.

        Raises:
            ArtefactError: a folder of that name is in the way.
        """
        link, target = self.folder / stage, self.path(stage)
        if link.is_dir() and not link.is_symlink():
            raise ArtefactError(
                f"{link} is a folder, where a link into the store belongs (earlier versions of genuq made such "
                "folders). Move it away and run the same command again."
            )
        relative = os.path.relpath(target.resolve(), link.parent.resolve())
        if link.is_symlink() and os.readlink(link) == relative:
            return
        new = link.with_name(f".{stage}.{os.getpid()}.link")
        new.unlink(missing_ok=True)
        new.symlink_to(relative)
        os.replace(new, link)

    def plain(self, *groups: str) -> dict[str, Any]:
        """The named parts of the configuration as plain data; all of it without names."""
        parts = {group: self.config[group] for group in groups or [str(key) for key in self.config]}
        return {
            group: OmegaConf.to_container(part, resolve=True) if OmegaConf.is_config(part) else part
            for group, part in parts.items()
        }

    @property
    def device(self) -> torch.device:
        """The configured device; `auto` is the first GPU where there is one."""
        if self.config.device != "auto":
            return available(self.config.device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def trains(self) -> bool:
        """Whether its stages make the model's weights."""
        return "train" in self.config.stages

    def posteriors(self) -> dict[str, Any]:
        """The settings of every posterior by the name of its draws: `draws` for the main one, then the others."""
        groups = self.plain("posterior", "beside")
        return {MAIN_POSTERIOR: groups["posterior"], **(groups["beside"] or {})}


@cache
def _sha256(path: Path, *state: int | str) -> str:
    """Once for every state of a file."""
    return files.sha256(path)


@cache
def _sha256_of_folder(path: Path, *state: int | str) -> str:
    """Once for every state of a folder."""
    return files.sha256_of_folder(path)


def hardware_of(run: Run, shards: bool = False) -> Hardware:
    """The trainer's hardware.

    Args:
        shards: whether a network that the strategy divides is to be divided; else every process holds it whole.
    """
    settings = run.config.trainer
    hardware = Hardware(**{field.name: settings[field.name] for field in fields(Hardware)})
    hardware = hardware if shards else hardware.undivided
    return hardware if "process" in run.config.model else hardware.tolerant  # of a user's own network who knows
