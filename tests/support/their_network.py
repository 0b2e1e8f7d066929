"""A network that genuq has never seen, and how it is called."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TheirNetwork(nn.Module):
    """Somebody else's: keyword arguments, integer timesteps, channels last, two outputs, a head of another name."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_label = nn.Embedding(4, 8)  # three classes and the null class
        self.encoder = nn.Conv2d(1, 8, 3, padding=1)
        self.decoder = nn.ModuleDict({"norm": nn.GroupNorm(2, 8), "to_pixels": nn.Conv2d(8, 1, 3, padding=1)})
        self.unused_by_the_sampler = nn.Linear(8, 2)

    def forward(self, *, sample: Tensor, timestep: Tensor, labels: Tensor) -> dict[str, Tensor]:
        condition = self.embed_label(labels) + (timestep / 1000)[:, None]
        hidden = self.encoder(sample.movedim(-1, 1)) + condition[:, :, None, None]
        hidden = self.decoder["norm"](torch.tanh(hidden))
        velocity = self.decoder["to_pixels"](hidden).movedim(1, -1)
        return {"velocity": velocity, "other": self.unused_by_the_sampler(hidden.mean((2, 3)))}


def their_call(network: nn.Module, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
    return network(sample=x.movedim(1, -1), timestep=1000 * t, labels=y)["velocity"].movedim(-1, 1)
