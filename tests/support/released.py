"""Small networks of released architectures, and fixtures of the originals where they lie beside the repository."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from genuq.models import MODELS, GenerativeModel
from support.small_pipelines import seeded

FIXTURES = Path(__file__).parents[3] / "shared" / "checkpoints"  # users have none

ADM: dict[str, Any] = {
    "image_size": 8,
    "model_channels": 32,
    "channel_mult": [1, 2],
    "num_res_blocks": 1,
    "attention_resolutions": [2],
    "num_heads": 2,
    "num_head_channels": -1,
    "num_classes": 3,
    "dropout": 0.0,
}
UVIT: dict[str, Any] = {
    "img_size": 8,
    "patch_size": 2,
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "num_classes": 4,
}
EDM2: dict[str, Any] = {
    "img_resolution": 8,
    "img_channels": 3,
    "model_channels": 8,
    "channel_mult": [1, 2],
    "num_blocks": 1,
    "attn_resolutions": [4],
    "channels_per_head": 4,
    "label_dim": 3,
    "logvar_channels": 4,
}
CLASSIFIER: dict[str, Any] = {
    **{key: value for key, value in ADM.items() if key != "num_classes"},
    "num_head_channels": 32,
    "out_channels": 3,
}
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "adm": ("imagenet_128", ADM),
    "uvit": ("imagenet_64_mid", UVIT | {"num_classes": 3}),
    "edm2": ("imagenet_64_s", EDM2),
}
"""A preset of pixels of each model, and what is changed of it: three classes, images of 8 x 8."""


@seeded
def small(name: str, **options: Any) -> GenerativeModel:
    preset, changed = SMALL[name]
    return MODELS.make(name, **{"preset": preset, "changed": changed, **options}).eval()


def published(name: str, kind: type) -> Any:
    """The settings of a fixture, as our class has them."""
    if not FIXTURES.is_dir():
        pytest.skip("the fixtures are not here")
    given = json.loads((FIXTURES / name).read_text())["constructor"]
    known = {each.name for each in dataclasses.fields(kind)}
    return kind(**{key: value for key, value in given.items() if key in known})


def difference(network: nn.Module, name: str) -> float:
    """Of a network with a fixture's weights from the original's answers, relative, at the worst entry."""
    network.load_state_dict(load_file(FIXTURES / f"{name}.weights.safetensors"))
    given = load_file(FIXTURES / f"{name}.io.safetensors")
    with torch.no_grad():
        found = network.eval()(given["x"], given["t"], given["y"])
    return float((found - given["output"]).abs().max() / given["output"].abs().max())


def manifest(name: str) -> dict[str, tuple[int, ...]]:
    """Every key of a full-size network with its shape."""
    return {key: tuple(shape) for key, shape in json.loads((FIXTURES / name).read_text())["state_dict"].items()}


def millions(network: nn.Module) -> float:
    return sum(value.numel() for value in network.parameters()) / 1e6


def images(count: int = 24) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 8, 8) and their classes."""
    source = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, 8, 8, generator=source) * 2 - 1, torch.arange(count) % 3
