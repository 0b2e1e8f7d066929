"""A package of somebody's own with a whole model, as text that a test writes where it can be imported."""

from __future__ import annotations

import sys
from pathlib import Path

SOURCE = '''
from pathlib import Path

import genuq
import torch
from safetensors.torch import load_file
from torch import nn


class Theirs(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.label = nn.Embedding(classes + 1, width)
        self.encoder = nn.Conv2d(1, width, 3, padding=1)
        self.decoder = nn.ModuleDict({"final": nn.Conv2d(width, 1, 3, padding=1)})
        self.unused = nn.Linear(width, 2)

    def forward(self, x, *, timestep, labels):
        condition = self.label(labels) + (timestep / 1000)[:, None]
        hidden = torch.tanh(self.encoder(x) + condition[:, :, None, None])
        return {"sample": self.decoder["final"](hidden), "other": self.unused(hidden.mean((2, 3)))}


def call(network, x, t, y):
    return network(x, timestep=1000 * t, labels=y)["sample"]


def build_model(width: int = 4, side: int = 16, classes: int = 3, weights: Path | None = None):
    """A model of somebody's own."""
    network = Theirs(width, classes)
    if weights is not None:
        assert isinstance(weights, Path)
        network.load_state_dict(load_file(weights))
    return genuq.GenerativeModel(network, (1, side, side), num_classes=classes, call=call, head="decoder.final")
'''


def write_package(folder: Path, name: str, more: str = "") -> Path:
    """The package's only file, NAME/__init__.py in `folder`; an import afterwards reads it anew."""
    path = folder / name / "__init__.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SOURCE + more)
    sys.modules.pop(name, None)
    return path
