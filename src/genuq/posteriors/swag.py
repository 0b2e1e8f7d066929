"""SWA-Gaussian: a Gaussian fitted to the snapshots of a training that goes on at a constant rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.posteriors.base import Posterior, Scale
from genuq.posteriors.members import MembersPosterior
from genuq.posteriors.register import POSTERIORS
from genuq.randomness import WEIGHTS, generator


@POSTERIORS.add(
    label="SWAG",
    description="A Gaussian fitted to snapshots of the weights while the training goes on at a constant rate.",
)
class Swag(MembersPosterior):
    """N(mean, (diagonal + low rank) / 2): half of the covariance from the variances of all snapshots, half from the
    sample covariance of the last `rank` of them.

    Draws lie around the snapshots' mean, the unperturbed sample has the trained weights: `relative_shift` is the
    distance between the two, which no temperature changes.
    The kept snapshots are centred at their own mean, so that their half is their sample covariance. (The paper
    subtracts the running mean of each snapshot's time, and counts a drift as spread.)
    `merge` takes in a second chain from the same weights: its snapshots count like further ones of this.

    Args:
        rank: snapshots kept for the low-rank half.

    Source: Maddox et al. 2019, A Simple Baseline for Bayesian Uncertainty in Deep Learning, eq. 1 and algorithm 1.
    """

    kind = "swag"

    def __init__(self, module: nn.Module, rank: int = 10) -> None:
        if rank < 2:
            raise ConfigurationError(f"posterior.rank = {rank}; swag needs at least 2 snapshots.")
        super().__init__(module)
        self.rank = rank
        # deviations from the trained weights: they are small, so that the squares lose no digits
        zeros = {name: torch.zeros(value.shape, dtype=torch.float64) for name, value in self.covered().items()}
        self._first, self._second = zeros, {name: value.clone() for name, value in zeros.items()}
        self._last: list[dict[str, Tensor]] = []

    def options(self) -> dict[str, Any]:
        return {"rank": self.rank}

    def add(self, weights: Mapping[str, Tensor]) -> None:
        moved = {name: value.double() - self.trained[name].cpu().double() for name, value in weights.items()}
        for name, value in moved.items():
            self._first[name] += value
            self._second[name] += value.square()
        if len(self._last) >= self.rank:
            self._last.pop(0)
        self._last.append({name: value.float() for name, value in moved.items()})

    def sums(self) -> dict[str, Tensor]:
        kept = {name: torch.stack([snapshot[name] for snapshot in self._last]) for name in self.covered() if self._last}
        parts = {"first": self._first, "second": self._second, "last": kept}
        return {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}

    def restore(self, sums: Mapping[str, Tensor], n_seen: int) -> None:
        parts = {
            part: {name: sums[f"{part}/{name}"] for name in self.covered() if f"{part}/{name}" in sums}
            for part in ("first", "second", "last")
        }
        self._first, self._second = parts["first"], parts["second"]
        count = len(next(iter(parts["last"].values()), ()))
        self._last = [{name: values[i] for name, values in parts["last"].items()} for i in range(count)]
        self.n_seen, self.scale = n_seen, None

    def merge(self, other: Posterior) -> None:
        self.require_same(other)
        assert isinstance(other, Swag)
        for name in self.covered():
            self._first[name] = self._first[name] + other._first[name]
            self._second[name] = self._second[name] + other._second[name]
        self._last = self._last + other._last
        self.saw(other.n_seen)

    def factorise(self, scale: Scale) -> None:
        if len(self._last) < 2:
            raise ConfigurationError(f"swag has {self.n_seen} snapshots; at least 2 are needed: call update.")
        super().factorise(scale)

    def mean(self, name: str) -> Tensor:
        """The snapshots' mean deviation from the trained weight, float64."""
        return self._first[name] / self.n_seen

    def diagonal(self, name: str) -> Tensor:
        """Variance of each weight over all snapshots."""
        return (self._second[name] / self.n_seen - self.mean(name).square()).clamp(min=0)

    def columns(self, name: str) -> Tensor:
        """The kept snapshots minus their mean, (R, *shape)."""
        kept = torch.stack([snapshot[name] for snapshot in self._last]).double()
        return kept - kept.mean(0)

    def values(self, index: int, seed: int, spread: float) -> Iterator[tuple[str, Tensor]]:
        """mean + spread * (sqrt(diagonal / 2) z_1 + columns z_2 / sqrt(2 (R - 1)))."""
        source, count = generator(seed, index, WEIGHTS), len(self._last)
        z_R = torch.randn(count, generator=source, dtype=torch.float64) / (2 * (count - 1)) ** 0.5
        for name, trained in self.covered().items():
            noise = torch.randn(trained.shape, generator=source, dtype=torch.float64)
            moved = (self.diagonal(name) / 2).sqrt() * noise + torch.tensordot(z_R, self.columns(name), dims=1)
            yield name, trained.cpu().double() + self.mean(name) + spread * moved

    def variance(self, name: str) -> float:
        """Around the snapshots' mean."""
        low_rank = self.columns(name).square().sum(0) / (len(self._last) - 1)
        return float((self.diagonal(name) + low_rank).mean()) / 2

    def squared_deviations(self, draws: int = 0, seed: int = 0) -> dict[str, float]:
        """Around the trained weights: the shift of the mean counts."""
        around_mean = super().squared_deviations()
        return {name: value + float(self.mean(name).square().mean()) for name, value in around_mean.items()}

    def relative_shift(self) -> float:
        """Root mean square of the snapshots' mean deviation over that of the trained weights."""
        squares = sum(float(self.mean(name).square().sum()) for name in self.covered())
        count = sum(value.numel() for value in self.covered().values())
        return (squares / count / self.mean_square()) ** 0.5
