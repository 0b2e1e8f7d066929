"""Where and how many processes work, in Lightning's own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Hardware:
    """Where and how Lightning trains, in its own words.

    Attributes:
        devices: processes on each machine.
        num_nodes: machines.
        gradient_clip: largest norm of the gradient.
        checkpoint_every: steps between two checkpoints; a killed training resumes at the last.
    """

    accelerator: str = "auto"
    devices: int = 1
    strategy: str = "auto"
    precision: Any = "32-true"
    gradient_clip: float = 1.0
    checkpoint_every: int = 100
    num_nodes: int = 1

    @property
    def several(self) -> bool:
        """Whether more than one process is asked for, or a strategy that connects them."""
        return self.devices != 1 or self.num_nodes != 1 or self.strategy != "auto"
