"""Released weights of networks of genuq's own: files that are looked at, read and named, and the autoencoder around."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from genuq import files
from genuq.errors import ArtefactError, CheckpointError, ConfigurationError
from genuq.models import MODELS, DiffusersAutoencoder, GenerativeModel, guided_by
from genuq.models.checkpoints import ARCHIVE, PICKLE, foreign_format
from genuq.networks.published import FAMILIES, fill, outlined
from genuq.pretrained.outline import described_part

Maker = TypeVar("Maker", bound=Callable[..., GenerativeModel])

CORNER = 4  # side of the latent that tells how far an autoencoder enlarges


def released(family: str, label: str) -> Callable[[Maker], Maker]:
    """A decorator that registers a function as `model=NAME`, of networks of one family and with a parameter `outline`.

    Args:
        family: its name among `FAMILIES`.
        label: in reports.
    """
    settle = partial(found, family)
    return MODELS.add(label=label, settle=settle, internal=frozenset({"outline"}), outline={"outline": True})


def found(family: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, whose files and folders are there.

    Raises:
        ConfigurationError: one is not, with where it is to be had.
    """
    for key in ("checkpoint", "classifier", "guide"):
        if options.get(key) is not None and not Path(options[key]).expanduser().is_file():
            of = FAMILIES[f"{family}_classifier" if key == "classifier" else family]
            raise ConfigurationError(f"model.{key}: {options[key]} does not exist. {of.released}")
    named = [key for key in ("guide_preset", "guide_changed") if options.get(key)]
    if named and options.get("guide") is None:
        raise ConfigurationError(
            f"model.{named[0]} is of the network that guides: give its weights by model.guide=FILE."
        )
    folder = options.get("autoencoder")
    if folder is not None and not (Path(folder).expanduser() / "config.json").is_file():
        raise ConfigurationError(
            f"model.autoencoder: {folder} holds no config.json: give the folder that save_pretrained of an autoencoder "
            "of diffusers wrote (a copy of stabilityai/sd-vae-ft-ema or -mse)."
        )
    return dict(options)


def with_guide(
    model: GenerativeModel,
    make: Callable[[str, Path, dict[str, Any] | None], GenerativeModel],
    preset: str,
    path: Path | None,
    changed: dict[str, Any] | None,
) -> GenerativeModel:
    """The model, guided by a second network where one is named.

    Args:
        make: of the preset, file and changes of a network, its model without an autoencoder.
        preset, path, changed: of the second network.

    Raises:
        ConfigurationError: one of other states, classes, process or prediction.
    """
    return model if path is None else guided_by(model, make(preset, path, changed))


def network_of(
    family: str,
    settings: Any,
    asked: str,
    path: str | Path | None,
    key: str = "model.checkpoint",
    outline: bool = False,
) -> nn.Module:
    """A network of released architecture.

    Args:
        family: its name among `FAMILIES`.
        settings: of the network.
        asked: the preset that was asked for.
        path: of its weights; None: random ones.
        key: that named the file.
        outline: on torch's meta device, the file is not read.

    Raises:
        CheckpointError: a file of another network, which is named, or one that holds more than weights.
    """
    if path is None and not outline:
        return FAMILIES[family].network(settings).eval()
    network = outlined(family, settings)
    if path is not None and not outline:
        fill(network, read_weights(path, key), f"{FAMILIES[family].title} {asked}", f"{key} = {path}")
    return network.eval()


def read_weights(path: str | Path, key: str = "model.checkpoint") -> dict[str, Tensor]:
    """The tensors of a state dictionary by name: safetensors, or an archive of torch.save that holds nothing else.

    Raises:
        CheckpointError: a pickle, which is not opened; an archive that holds anything but tensors; a broken file.
    """
    with open(path, "rb") as file:
        start = file.read(len(ARCHIVE))
    if start.startswith(PICKLE):
        raise CheckpointError(
            f"{key} = {path} is a pickle, which can run anything and is not opened. Where it was made, write its state "
            "dictionary by safetensors.torch.save_file (docs/released_networks.md has it for EDM2)."
        )
    if start != ARCHIVE:
        try:
            return files.read_tensors(path)[0]
        except ArtefactError as error:
            raise CheckpointError(f"{key} = {path} is neither safetensors nor an archive of torch.save.") from error
    return _archived(path, key)


def _archived(path: str | Path, key: str) -> dict[str, Tensor]:
    said = f"{key} = {path} is {foreign_format(path)}"
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise CheckpointError(
            f"{said}, which cannot be read as tensors alone: {str(error).splitlines()[0]} Save its state dictionary as "
            "safetensors."
        ) from error
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise CheckpointError(f"{said}, which holds no plain state dictionary. Save that of the network (its EMA).")
    return dict(loaded)


def autoencoder_of(
    folder: Path | None,
    latent: bool,
    asked: str,
    outline: bool,
    kind: type[DiffusersAutoencoder] = DiffusersAutoencoder,
) -> DiffusersAutoencoder | None:
    """The autoencoder of a network of latents, which it needs; None for one of pixels, which takes none.

    Args:
        folder: that `save_pretrained` wrote.
        asked: the preset that was asked for.
        outline: on torch's meta device.
        kind: how its latents are normalised.

    Raises:
        ConfigurationError: none was given for latents, or one for pixels.
    """
    if latent != (folder is not None):
        wrong = "needs the autoencoder of its latents: model.autoencoder=FOLDER" if latent else "takes no autoencoder"
        raise ConfigurationError(f"model.preset = '{asked}' {wrong}.")
    if folder is None:
        return None
    name = _class_name(folder)
    if outline:
        return kind(described_part(folder, name, "ModelMixin", "meta"))
    return kind.from_pretrained(str(folder), name)


def _class_name(folder: Path) -> str:
    try:
        return str(json.loads((folder / "config.json").read_text())["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"model.autoencoder: {folder / 'config.json'} names no _class_name.") from error


@torch.no_grad()
def image_shape(autoencoder: DiffusersAutoencoder | None, latent_shape: Sequence[int]) -> tuple[int, ...]:
    """(C, H, W) of the images of such latents."""
    if autoencoder is None:
        return tuple(latent_shape)
    device = next(autoencoder.parameters()).device
    corner = autoencoder.decode(torch.zeros(1, latent_shape[0], CORNER, CORNER, device=device))
    return (corner.shape[1], *(side * corner.shape[-1] // CORNER for side in latent_shape[1:]))
