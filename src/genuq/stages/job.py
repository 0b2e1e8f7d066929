"""Where a run's configuration comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """What Hydra knows of a run.

    Attributes:
        name: within its sweep, `model=ddpm,seed=1`; None outside a sweep.
        sweep: folder of the sweep that it belongs to, if any.
        overrides: as typed, of this job.
        choices: the chosen option of every group.
        options: folders of the user's own option files.
    """

    name: str | None = None
    sweep: Path | None = None
    overrides: tuple[str, ...] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    options: tuple[Path, ...] = ()
