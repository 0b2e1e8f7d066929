"""The register of processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from genuq.parts import Part, Register
from genuq.processes.base import Process


@dataclass(frozen=True, kw_only=True)
class ProcessPart(Part):
    """A process: a subclass of `Process`, called by its `name`; what its constructor takes are its options."""

    group: str = "process"
    product: ClassVar[type | None] = Process


PROCESSES = Register(ProcessPart, "genuq.processes", "model.process.name")
