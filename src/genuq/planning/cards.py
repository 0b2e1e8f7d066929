"""Cards by name, as their makers' data sheets have them: what a network's operations would take on one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from genuq.errors import ConfigurationError, did_you_mean
from genuq.planning.history import TimeEstimate

# Of a card's peak that networks of images reach in eager PyTorch: most likely, least, most. A fused or compiled network
# comes near the most, one of many small layers near the least.
EFFICIENCY, LEAST, MOST = 0.4, 0.2, 0.65


@dataclass(frozen=True)
class Card:
    """A card with its published numbers.

    Attributes:
        title: what its maker calls it.
        half: peak of bfloat16 and float16 on its matrix units with sums in float32, without sparsity; 1e12 operations
            a second.
        single: peak of float32, without rounding to TF32; 1e12 operations a second.
        memory: 1e9 bytes.
    """

    title: str
    half: float
    single: float
    memory: float

    def seconds(self, operations: float, precision: torch.dtype) -> TimeEstimate:
        """What so many floating-point operations take: an estimate from the peak, not a measurement."""
        ideal = operations / (1e12 * (self.single if precision.itemsize >= 4 else self.half))
        return TimeEstimate(ideal / EFFICIENCY, ideal / MOST, ideal / LEAST, "counted")

    @property
    def is_here(self) -> bool:
        """Whether it is this machine's, so that its own runs and measurements tell more."""
        return torch.cuda.is_available() and _words(self.title) <= _words(torch.cuda.get_device_name())


def _words(title: str) -> set[str]:
    return set(title.lower().replace("-", " ").split())


# Source: the data sheets and architecture whitepapers of NVIDIA and AMD; a peak that they give with sparsity is halved.
CARDS: Mapping[str, Card] = {
    "l4": Card("NVIDIA L4", 121, 30.3, 24),
    "l40s": Card("NVIDIA L40S", 362, 91.6, 48),
    "a10": Card("NVIDIA A10", 125, 31.2, 24),
    "a100_40gb": Card("NVIDIA A100 40GB", 312, 19.5, 40),
    "a100": Card("NVIDIA A100 80GB", 312, 19.5, 80),
    "h100_pcie": Card("NVIDIA H100 PCIe", 756, 51, 80),
    "h100": Card("NVIDIA H100 80GB HBM3", 989, 67, 80),
    "h200": Card("NVIDIA H200", 989, 67, 141),
    "rtx_3090": Card("NVIDIA GeForce RTX 3090", 71, 35.6, 24),
    "rtx_4090": Card("NVIDIA GeForce RTX 4090", 165, 82.6, 24),
    "mi300x": Card("AMD Instinct MI300X", 1307, 163.4, 192),
}


def card_of(name: str) -> Card:
    """The card of this name, in any case, with - for _ too.

    Raises:
        ConfigurationError: it is not known.
    """
    known = name.lower().replace("-", "_").replace(" ", "_")
    if known not in CARDS:
        raise ConfigurationError(f"--card '{name}' is not known.{did_you_mean(known, CARDS)}")
    return CARDS[known]
