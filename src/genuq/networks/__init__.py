"""Networks: f(x, t, y) for images and points, an autoencoder, and the classifier that judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from genuq.networks.autoencoder import VAE
from genuq.networks.classifier import Classifier
from genuq.networks.dit import DiT
from genuq.networks.mlp import MLP
from genuq.networks.register import NETWORKS, NetworkPart
from genuq.networks.unet import UNet


def build(name: str, shape: Sequence[int], num_classes: int, **options: Any) -> nn.Module:
    """The network called `name`, for inputs of `shape`.

    Raises:
        ConfigurationError: no network has this name, it has no such option, or makes no `nn.Module`.
    """
    return NETWORKS.make(name, shape=shape, num_classes=num_classes, **options)


__all__ = ["MLP", "NETWORKS", "VAE", "Classifier", "DiT", "NetworkPart", "UNet", "build"]
