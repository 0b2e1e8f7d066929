"""Features on which float32 and float64 easily disagree: ties, duplicates, points nearer than float32 can tell."""

from __future__ import annotations

import torch

TILES = 2**15  # bytes: tiles of some twenty rows


def normal(count: int, dimension: int, seed: int, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def lattice(count: int, seed: int) -> torch.Tensor:
    """Most distances are exact ties and many points coincide, so that float32 leaves nearly all of them open."""
    found = torch.randint(0, 3, (count, 3), generator=torch.Generator().manual_seed(seed)).double()
    return torch.nn.functional.pad(found, (0, 61))


def clusters(count: int, seed: int) -> torch.Tensor:
    """Points nearer to each other, beside their norms, than float32 can tell."""
    return normal(count, 64, seed, torch.float64) * 1e-5 + normal(4, 64, 9, torch.float64)[torch.arange(count) % 4]


SETS = {
    "float32": (normal(150, 70, 0), normal(130, 70, 1)),
    "float64": (normal(120, 64, 2, torch.float64), 1.1 * normal(90, 64, 3, torch.float64)),
    "far from the origin": (normal(80, 64, 4, torch.float64) + 300, normal(90, 64, 5, torch.float64) + 300.2),
    "ties and duplicates": (lattice(130, 6), lattice(100, 7)),
    "near pairs": (clusters(120, 8), clusters(110, 10)),
    "copies": (normal(90, 64, 11), torch.cat([normal(90, 64, 11)[:30], normal(20, 64, 12)])),
    "tiny and large": (torch.cat([normal(60, 64, 13) * 1e-12, normal(60, 64, 14)]), normal(90, 64, 15)),
    "all the same": (torch.ones(20, 64), torch.ones(30, 64)),
}
