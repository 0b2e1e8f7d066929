"""Where and how many processes work, in Lightning's own words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from genuq.identity import neutral
from genuq.parts.bounds import Count, Limits, OneOf, Positive, check_fields

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
MOST = 4096  # processes on a machine, and machines
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true")  # the last with `DIVIDING` alone
TOLERANT = "ddp_find_unused_parameters_true"  # Lightning's name of ddp where a step may not use all weights
DIVIDING = "fsdp"  # the strategy that divides a network among the processes while it is trained
STRATEGIES = ("auto", "ddp", TOLERANT, DIVIDING)


class Processes:
    """How many there are on a machine: some, or -1."""

    def problem(self, value: int) -> str | None:
        return None if value == -1 or 1 <= value <= MOST else f"it must lie in [1, {MOST}], or be -1 for all GPUs"


@dataclass(frozen=True)
class Hardware:
    """Where and how Lightning trains, in its own words.

    Attributes:
        devices: processes on each machine; -1 for all GPUs.
        num_nodes: machines.
        gradient_clip: largest norm of the gradient.
        checkpoint_every: steps between two checkpoints; a killed training resumes at the last.
    """

    accelerator: Annotated[str, OneOf(*ACCELERATORS)] = neutral("auto")
    devices: Annotated[int, Processes()] = neutral(1)
    strategy: Annotated[str, OneOf(*STRATEGIES)] = neutral("auto")
    precision: Annotated[str, OneOf(*PRECISIONS)] = "32-true"
    gradient_clip: Positive = 1.0
    checkpoint_every: Count = neutral(100)
    num_nodes: Annotated[int, Limits(1, MOST)] = neutral(1)

    def __post_init__(self) -> None:
        check_fields(self, "trainer")

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
