"""Runs that are only looked at: those of a sweep share what they have in common, and nothing is made or changed."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from genuq.pipeline.configured import description_of, engine_of
from genuq.pipeline.memory import Memory
from genuq.pipeline.run import Run

__all__ = ["Memory", "PlannedRun"]


@dataclass
class PlannedRun(Run):
    """A run whose `memory` others share, and whose configuration is read often."""

    @cached_property
    def _whole(self) -> dict[str, Any]:
        return super().plain()

    def plain(self, *groups: str) -> dict[str, Any]:
        return {group: deepcopy(self._whole[group]) for group in groups or self._whole}

    @property
    def keeps_contents(self) -> bool:
        return False

    def network_like(self, sampled: bool = True) -> dict[str, Any]:
        """What sets the time of an evaluation of the run's network: runs that agree in it take as long for one.

        Args:
            sampled: as samples and scores evaluate it; trainings and fits take it as it is.
        """
        description = description_of(self)
        named = ("shape", "network", "autoencoder", "part", "options")
        kept = {key: description[key] for key in named if key in description}
        return kept | (engine_of(self).notes if sampled else {}) | {"device": self.hardware()}

    def hardware(self) -> str:
        """The processes and their device, in words."""
        return f"{self.processes} x {self.device}"

    @property
    def processes(self) -> int:
        """That the stages are shared by."""
        return self.config.trainer.devices * self.config.trainer.num_nodes
