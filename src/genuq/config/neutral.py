"""The one list of settings that change no number of a run: where it lies, what it runs on, how it is watched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PLACE = ("device", "name", "store", "study")
HARDWARE = tuple(f"trainer.{key}" for key in ("accelerator", "devices", "num_nodes", "strategy"))
# What the folder of a sweep's job is not named by. Not all neutral keys: each job keeps its logs in its folder.
UNNAMED = (*PLACE, *HARDWARE)
GROUPS = ("logger", "hydra")
KEYS = (*UNNAMED, "objective", "worker", "trainer.checkpoint_every", "likelihood.batch_size")
ELSEWHERE = ("seed", "stages")  # no settings of a method: tables average over seeds, and stages only ask for artefacts
STAGES = ("report",)  # stages that change no number


def is_neutral(key: str) -> bool:
    """Whether a setting, by its dotted key or that of its group, changes where or how a run is made and no number."""
    return key in (*KEYS, *GROUPS) or key.startswith(tuple(f"{group}{end}" for group in GROUPS for end in "./"))


def without_neutral(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration, or the part of it whose dotted key `prefix` ends in a dot, without what is neutral."""
    kept = {key: value for key, value in settings.items() if not is_neutral(f"{prefix}{key}")}
    return {
        key: without_neutral(value, f"{prefix}{key}.") if isinstance(value, Mapping) else value
        for key, value in kept.items()
    }
