"""The register of networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from genuq.parts import Part, Register


@dataclass(frozen=True, kw_only=True)
class NetworkPart(Part):
    """A network f(x, t, y). Its target takes `shape` (of what it denoises), `num_classes` and its own options."""

    group: str = "network"
    product: ClassVar[type | None] = nn.Module

    @property
    def supplied(self) -> frozenset[str]:
        return frozenset({"shape", "num_classes"})


NETWORKS = Register(NetworkPart, "genuq.networks", "network.name")
