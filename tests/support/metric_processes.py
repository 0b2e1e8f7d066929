"""Features, and what the torchmetrics modules say of them in one process and in a group."""

from __future__ import annotations

import torch
import torch.distributed

from genuq.metrics import FrechetDistance, KernelDistance, PrecisionRecallDensityCoverage


def features(count: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed)) + shift


REAL, FAKE = features(61, 0), features(47, 1, shift=0.4)


def fed(metric, rank: int = 0, processes: int = 1):
    """`metric` after this process's share of the features, in batches of 8."""
    for whole, real in ((REAL, True), (FAKE, False)):
        for batch in whole[rank::processes].split(8):
            metric.update(batch, real=real)
    return metric


def all_values(rank: int = 0, processes: int = 1) -> dict[str, float]:
    metrics = [FrechetDistance(5), KernelDistance(), PrecisionRecallDensityCoverage(k=3)]
    frechet, kernel, manifold = (fed(metric, rank, processes).compute() for metric in metrics)
    return {"frechet": float(frechet), "kernel": float(kernel), **{name: float(x) for name, x in manifold.items()}}


def join_group(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    torch.save(all_values(rank, processes=2), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
