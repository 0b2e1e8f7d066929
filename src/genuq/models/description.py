"""A model as plain data (JSON), so that a checkpoint carries what is needed to build it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genuq import networks
from genuq.errors import ConfigurationError, did_you_mean
from genuq.models.autoencoder import Autoencoder, DiffusersAutoencoder, VAEAutoencoder
from genuq.models.generative import GenerativeModel
from genuq.networks import VAE
from genuq.processes import build as build_process


def build(description: Mapping[str, Any]) -> GenerativeModel:
    """Build the model that a description names.

    Args:
        description: keys `shape`, `num_classes`, `prediction`, `head` (or None), `process` (options of
            `genuq.processes.build`), `network` (`name` and options), `autoencoder` (None, or `name` and options).

    Raises:
        ConfigurationError: an unknown network, process, prediction type or autoencoder.
    """
    shape = tuple(description["shape"])
    autoencoder = build_autoencoder(description.get("autoencoder"), shape)
    network = networks.build(
        shape=autoencoder.latent_shape(shape), num_classes=description["num_classes"], **description["network"]
    )
    return GenerativeModel(
        network=network,
        shape=shape,
        process=build_process(**description["process"]),
        prediction=description["prediction"],
        num_classes=description["num_classes"],
        autoencoder=autoencoder,
        head=description.get("head"),
    )


def build_autoencoder(options: Mapping[str, Any] | None, shape: tuple[int, ...]) -> Autoencoder:
    """None gives the identity; `vae` ours; `diffusers` any diffusers autoencoder by path or hub name."""
    if options is None:
        return Autoencoder()
    kind, rest = options["name"], {key: value for key, value in options.items() if key != "name"}
    if kind == "vae":
        return VAEAutoencoder(VAE(shape, **rest))
    if kind == "diffusers":
        return DiffusersAutoencoder.from_pretrained(**rest, channels=shape[0])
    raise ConfigurationError(
        f"model.autoencoder.name = '{kind}' is not an autoencoder." + did_you_mean(kind, ["vae", "diffusers"])
    )
