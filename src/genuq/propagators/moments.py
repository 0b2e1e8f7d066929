"""Second moments of the newest states and predictions, pixel by pixel: what an affine step needs to carry variances."""

from __future__ import annotations

import torch
from torch import Tensor

from genuq.solvers import AffineStage


class Moments:
    """Covariances among the newest states x_0, x_1, ... and predictions f_0, f_1, ... of each pixel, float64.

    Starts from a known state. Every quantity is a linear combination of the earlier ones plus an independent rest, so
    that the matrix is positive semi-definite and no variance negative.

    Args:
        shape: of the states, (B, ...).
        memory: how many states, and how many predictions, the solver looks back to.
    """

    def __init__(self, shape: torch.Size, memory: int, device: torch.device) -> None:
        self.matrix = torch.zeros((1, 1, *shape), dtype=torch.float64, device=device)
        self.memory, self.states, self.predictions = memory, 1, 0

    @property
    def variance(self) -> Tensor:
        """Of the newest state."""
        return self.matrix[0, 0]

    def evaluate(self, slope: Tensor, rest: Tensor) -> None:
        """Add the prediction f = slope x_0 + r with r of variance `rest`, independent of all that is known."""
        row = slope * self.matrix[0]
        self._insert(self.states, row, slope * row[0] + rest)
        self.predictions += 1

    def step(self, stage: AffineStage, noise: Tensor | float) -> None:
        """Add the next state, with independent noise of this standard deviation, and forget the oldest quantities."""
        weights = torch.zeros(len(self.matrix), dtype=torch.float64, device=self.matrix.device)
        weights[: len(stage.x)] = torch.tensor(stage.x, dtype=torch.float64)
        weights[self.states : self.states + len(stage.f)] = torch.tensor(stage.f, dtype=torch.float64)
        row = torch.tensordot(weights, self.matrix, dims=1)
        own = torch.tensordot(weights, row, dims=1).clamp(min=0)  # below 0 only by rounding
        self._insert(0, row, own + noise**2)
        self.states += 1
        self._forget()

    def _insert(self, at: int, row: Tensor, own: Tensor) -> None:
        rows = torch.cat([self.matrix[:at], row[None], self.matrix[at:]])
        column = torch.cat([row[:at], own[None], row[at:]])
        self.matrix = torch.cat([rows[:, :at], column[:, None], rows[:, at:]], dim=1)

    def _forget(self) -> None:
        states, predictions = min(self.states, self.memory), min(self.predictions, self.memory)
        kept = [*range(states), *range(self.states, self.states + predictions)]
        self.matrix = self.matrix[kept][:, kept]
        self.states, self.predictions = states, predictions
