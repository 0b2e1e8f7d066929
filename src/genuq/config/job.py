"""Where a run's configuration comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from genuq.config.options import MAY_BE_NONE, NONE

NULLABLE = (*MAY_BE_NONE, "experiment")  # groups of which GROUP=none chooses no option


def without_none(choices: Mapping[str, str | None]) -> dict[str, str | None]:
    """The chosen option of every group but Hydra's own; None of one of which none was chosen."""
    return {
        group: None if option == NONE and group in NULLABLE else option
        for group, option in choices.items()
        if "hydra" not in group
    }


@dataclass(frozen=True)
class Job:
    """What Hydra knows of a run.

    Attributes:
        name: within its sweep, `model=ddpm,seed=1`; None outside a sweep.
        sweep: folder of the sweep that it belongs to, if any.
        overrides: as typed, of this job.
        choices: the chosen option of every group; None of one of which none was chosen.
        options: folders of the user's own option files.
    """

    name: str | None = None
    sweep: Path | None = None
    overrides: tuple[str, ...] = ()
    choices: Mapping[str, str | None] = field(default_factory=dict)
    options: tuple[Path, ...] = ()
