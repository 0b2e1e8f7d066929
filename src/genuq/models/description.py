"""A model as plain data (JSON), so that a checkpoint carries what is needed to build it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genuq import networks
from genuq.errors import ConfigurationError, did_you_mean
from genuq.models.autoencoder import Autoencoder, DiffusersAutoencoder, VAEAutoencoder
from genuq.models.generative import GenerativeModel
from genuq.models.register import MODELS
from genuq.networks import VAE
from genuq.processes import build as build_process


def build(description: Mapping[str, Any]) -> GenerativeModel:
    """Build the model that a description names.

    Args:
        description: keys `shape`, `num_classes`, `prediction`, `head` (or None), `process` (options of
            `genuq.processes.build`), `network` (`name` and options), `autoencoder` (None, or `name` and options).
            Or, for a model of somebody's own, `part` (its name in `MODELS`) and `options`.

    Raises:
        ConfigurationError: an unknown network, process, prediction type, autoencoder or model.
    """
    if is_plugged(description):
        return MODELS.make(description["part"], **description["options"])
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


def has_outline(description: Mapping[str, Any]) -> bool:
    """Whether this model can be built without its weights."""
    return is_plugged(description) and MODELS.get(description["part"]).outline is not None


def outline(description: Mapping[str, Any]) -> GenerativeModel:
    """The model that a description names on torch's meta device, without weights and prompts: shapes alone, for a plan.

    Args:
        description: of a model that `has_outline`.

    Raises:
        ConfigurationError: see `build`; a configuration that is missing.
    """
    part = MODELS.get(description["part"])
    return part.make(**description["options"], **(part.outline or {}))


def is_plugged(description: Mapping[str, Any]) -> bool:
    """Whether this describes a model of somebody's own."""
    return "part" in description


def noted(description: Mapping[str, Any]) -> dict[str, Any]:
    """A description as a checkpoint has it: of a model of somebody's own without the files that it is built from."""
    if not is_plugged(description):
        return dict(description)
    return {"part": description["part"], "options": MODELS[description["part"]].plain_options(description["options"])}


# Keys of each kind of autoencoder; those of the other are null.
AUTOENCODERS = {"vae": ("latent_channels", "channels"), "diffusers": ("path", "class_name")}


def build_autoencoder(options: Mapping[str, Any] | None, shape: tuple[int, ...]) -> Autoencoder:
    """None gives the identity; `vae` ours; `diffusers` any diffusers autoencoder by path or hub name.

    Raises:
        ConfigurationError: another kind, a key that the kind has not, or no path where one is needed.
    """
    if options is None:
        return Autoencoder()
    kind, rest = options["name"], {key: value for key, value in options.items() if key != "name"}
    if kind not in AUTOENCODERS:
        raise ConfigurationError(
            f"model.autoencoder.name = '{kind}' is not an autoencoder." + did_you_mean(kind, AUTOENCODERS)
        )
    for key in rest:
        if key not in AUTOENCODERS[kind]:
            raise ConfigurationError(
                f"model.autoencoder.{key} = {rest[key]} is no option of '{kind}', which has "
                f"{' and '.join(AUTOENCODERS[kind])}. Set it to null."
            )
    if kind == "vae":
        return VAEAutoencoder(VAE(shape, **rest))
    if "path" not in rest:
        raise ConfigurationError(
            "model.autoencoder.path = null, but a diffusers autoencoder comes from a folder or the hub: give its path."
        )
    return DiffusersAutoencoder.from_pretrained(**rest, channels=shape[0])
