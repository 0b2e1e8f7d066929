"""Networks: f(x, t, y) for images and points, an autoencoder, and the classifier that judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from genuq.errors import ConfigurationError, did_you_mean
from genuq.networks.autoencoder import VAE
from genuq.networks.classifier import Classifier
from genuq.networks.dit import DiT
from genuq.networks.mlp import MLP
from genuq.networks.unet import UNet

NETWORKS: dict[str, type[nn.Module]] = {"unet": UNet, "dit": DiT, "mlp": MLP}


def build(name: str, shape: Sequence[int], num_classes: int, **options: Any) -> nn.Module:
    """The network called `name`, for inputs of `shape`.

    Raises:
        ConfigurationError: no network has this name, or it takes no such option.
    """
    if name not in NETWORKS:
        raise ConfigurationError(f"network.name = '{name}' is not a network." + did_you_mean(name, NETWORKS))
    try:
        return NETWORKS[name](shape=shape, num_classes=num_classes, **options)
    except TypeError as error:
        raise ConfigurationError(f"network '{name}' cannot be built from {sorted(options)}: {error}.") from error


__all__ = ["MLP", "NETWORKS", "VAE", "Classifier", "DiT", "UNet", "build"]
