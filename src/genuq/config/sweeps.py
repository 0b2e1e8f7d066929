"""A sweep before Hydra runs it: its name, its jobs, where each belongs, and whether anything is left to do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from genuq import files
from genuq.config.compose import config_directory, jobs
from genuq.config.finished import is_finished, stamp_path
from genuq.config.neutral import UNNAMED
from genuq.config.own_options import SEARCH_PATH, folders_of, search_path
from genuq.store.remote import store_folder
from genuq.store.scales import at_scale

FLAGS = ("-m", "--multirun")
SWEEPS = Path("outputs") / "sweeps"


@dataclass(frozen=True)
class Sweep:
    """A multirun as typed.

    Attributes:
        name: of its folder and, unless the configuration says otherwise, of its study: `study`, else `name` where it
            is the same for all jobs, else the swept keys with a hash of all overrides. Never from the clock.
        store: where the artefacts lie.
        swept: keys that take several values.
        fixed: keys that take one.
        jobs: overrides of each job; None where a sweeper of its own chooses them as it goes.
        options: folders of the user's own option files.
    """

    name: str
    store: Path
    swept: tuple[str, ...]
    fixed: tuple[str, ...]
    jobs: list[tuple[str, ...]] | None
    options: tuple[Path, ...] = ()

    @property
    def folder(self) -> Path:
        return SWEEPS / self.name

    @property
    def unnamed(self) -> tuple[str, ...]:
        """Keys that a job's name leaves out. A name beside that of the study stays: it tells the jobs of one command
        of the study from those of another, which may sweep the same keys.
        """
        fixed = [key for key in self.fixed if key not in self.swept] if self.swept else []
        own = {"name"} if {"study", "name"} <= set(self.fixed) else set()
        return tuple(key for key in dict.fromkeys((*UNNAMED, *fixed)) if key not in own)

    def job_name(self, job: Sequence[str]) -> str:
        """The name that Hydra gives to a job."""
        parsed = OverridesParser.create().parse_overrides(list(job))
        named = [text for text, one in zip(job, parsed) if one.key_or_group not in self.unnamed and not is_hydras(one)]
        return ",".join(sorted(named))

    def arguments(self, given: Iterable[str]) -> list[str]:
        """Further overrides that put the jobs into folders named by what differs between them."""
        own = [] if any(text.startswith("hydra.sweep.dir=") for text in given) else [f"hydra.sweep.dir={self.folder}"]
        if self.swept:
            keys = ",".join(self.unnamed)
            own.append(f"hydra.job.config.override_dirname.exclude_keys=[{keys}]")
        return own

    def is_finished(self) -> bool:
        """Whether every job ended well before, and nothing that it made or read has changed since."""
        if not self.jobs:
            return False
        stamps = (stamp_path(self.store, self.folder, job, self.options) for job in self.jobs)
        state = cache(files.state_of)  # once for all jobs
        return all(is_finished(stamp, self.store, state) for stamp in stamps)


def sweep_of(arguments: Sequence[str]) -> Sweep | None:
    """The sweep that the arguments ask for; None for a single run, or overrides that cannot be read."""
    if not any(argument in FLAGS for argument in arguments):
        return None
    texts = [argument for argument in arguments if not argument.startswith("-")]
    try:
        overrides = OverridesParser.create().parse_overrides(overrides=texts)
        own = [override for override in overrides if not is_hydras(override)]
        fixed = [override for override in own if not override.is_sweep_override()]
        searched = [override for override in overrides if override.get_key_element() == SEARCH_PATH]
        config = _composed([str(override.input_line) for override in (*fixed, *searched)])
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError):
        return None
    swept = tuple(override.get_key_element() for override in own if override.is_sweep_override())
    chosen_elsewhere = any(override.get_key_element().startswith("hydra/sweeper") for override in overrides)
    return Sweep(
        name=at_scale(config["study"] or _own_name(config["name"]) or _slug(swept, texts), config["scale"]["name"]),
        store=store_folder(config["store"]),
        swept=swept,
        fixed=tuple(override.get_key_element().lstrip("+~") for override in fixed),
        jobs=None if chosen_elsewhere else [tuple(job) for job in jobs([str(o.input_line) for o in own])],
        options=folders_of(search_path(texts)),
    )


def is_hydras(override: Override) -> bool:
    return override.get_key_element().startswith(("hydra.", "hydra/"))


def _composed(fixed: Sequence[str]) -> dict[str, Any]:
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        config: Any = OmegaConf.to_container(compose("config", overrides=list(fixed)), resolve=False)
    return config


def _own_name(name: str) -> str | None:
    """A run's name that does not depend on what is swept."""
    return None if "${" in name else name


def _slug(swept: Sequence[str], texts: Sequence[str]) -> str:
    told = sorted(text for text in texts if not text.startswith(SEARCH_PATH))
    digest = hashlib.sha256("\n".join(told).encode()).hexdigest()[:8]
    keys = "-".join(key.split(".")[-1].split("@")[-1] for key in swept)[:60].replace("/", "_")
    return f"{keys or 'sweep'}-{digest}"
