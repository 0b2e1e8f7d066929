"""Where and how many processes work, in Lightning's own words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from genuq.identity import neutral

TOLERANT = "ddp_find_unused_parameters_true"  # Lightning's name of ddp where a step may not use all weights
DIVIDING = "fsdp"  # the strategy that divides a network among the processes while it is trained


@dataclass(frozen=True)
class Hardware:
    """Where and how Lightning trains, in its own words.

    Attributes:
        devices: processes on each machine.
        num_nodes: machines.
        gradient_clip: largest norm of the gradient.
        checkpoint_every: steps between two checkpoints; a killed training resumes at the last.
    """

    accelerator: str = neutral("auto")
    devices: int = neutral(1)
    strategy: str = neutral("auto")
    precision: Any = "32-true"
    gradient_clip: float = 1.0
    checkpoint_every: int = neutral(100)
    num_nodes: int = neutral(1)

    @property
    def undivided(self) -> Hardware:
        """The same, with the whole network in every process."""
        return replace(self, strategy="ddp") if self.strategy == DIVIDING else self

    @property
    def tolerant(self) -> Hardware:
        """The same, for a network of which a step may leave weights without a gradient."""
        return replace(self, strategy=TOLERANT) if self.several and self.strategy in ("auto", "ddp") else self

    @property
    def several(self) -> bool:
        """Whether more than one process is asked for, or a strategy that connects them."""
        return self.devices != 1 or self.num_nodes != 1 or self.strategy != "auto"
