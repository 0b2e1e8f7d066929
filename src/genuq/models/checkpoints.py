"""Model checkpoints: weights as safetensors, with the description that rebuilds the model; those shipped with genuq."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genuq import files
from genuq.errors import ArtefactError, CheckpointError, ConfigurationError, did_you_mean
from genuq.models import GenerativeModel, build, load_weights
from genuq.models.description import is_plugged, noted
from genuq.networks import Classifier

FORMAT = "genuq-checkpoint-1"
REFERENCE = "reference"  # in a configuration, in place of a path: what is shipped with genuq


TRAIN_ONE = "Train one (stages=[train,...]) or give its path as model.checkpoint."


def reference_name_of(chosen: object, name: str) -> str | None:
    """What the checkpoint shipped with genuq is called that a configuration names; None where it names a path.

    Args:
        chosen: `reference`, or `reference:VARIANT` of one that was trained in another way, such as `starved`.
        name: of the reference model, for instance `flow_matching_fashion_mnist`.
    """
    if not isinstance(chosen, str) or chosen.partition(":")[0] != REFERENCE:
        return None
    return name + "".join(f"_{variant}" for variant in chosen.split(":")[1:])


def reference_path(name: str, remedy: str = TRAIN_ONE) -> Path:
    """Where a checkpoint shipped with genuq lies.

    Raises:
        ConfigurationError: none has this name.
    """
    folder = Path(str(package_files("genuq") / "reference"))
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        shipped = [file.stem for file in folder.glob("*.safetensors") if "_ensemble_" not in file.stem]
        raise ConfigurationError(f"no reference checkpoint '{name}' is shipped.{did_you_mean(name, shipped)} {remedy}")
    return path


def reference_members(name: str, kind: str) -> list[Path]:
    """Where the members shipped for the reference model `name` lie, in their order.

    Raises:
        ConfigurationError: none are shipped.
    """
    folder = Path(str(package_files("genuq") / "reference"))
    paths = sorted(folder.glob(f"{name}_{kind}*.safetensors"))
    if not paths:
        raise ConfigurationError(
            f"posterior.checkpoints = 'reference', but no {kind} of '{name}' is shipped. Give the paths of members, or "
            "null to make them."
        )
    return paths


def save_model(
    path: str | Path,
    model: GenerativeModel,
    description: Mapping[str, Any],
    notes: Mapping[str, Any],
    half: bool = True,
) -> None:
    """Write a model's weights (float16 where `half`) with its description and notes as metadata."""
    dtype = torch.float16 if half else torch.float32
    tensors = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith("autoencoder.autoencoder.")  # a diffusers autoencoder keeps its own files
    }
    metadata = {"format": FORMAT, "description": json.dumps(noted(description)), "notes": json.dumps(dict(notes))}
    files.write_tensors(path, tensors, metadata)


def load_model(path: str | Path, expected: Mapping[str, Any] | None = None) -> tuple[GenerativeModel, dict[str, Any]]:
    """(model in float32, notes) of a checkpoint.

    Args:
        expected: the description that the configuration asks for; None takes the file's own. A model of somebody's own
            is built from `expected` alone: no file says what is to be run.

    Raises:
        ArtefactError: missing or truncated.
        CheckpointError: not a genuq checkpoint, or another model than expected (the differing keys are named).
        NonFiniteError: NaN or infinite weights.
    """
    tensors, metadata = _read(path)
    description = json.loads(metadata["description"])
    if expected is not None:
        _require_same(description, noted(expected), path)
    elif is_plugged(description):
        raise CheckpointError(
            f"{path} holds the weights of '{description['part']}', which is no model of genuq's own. Build that model, "
            "and give it the weights by genuq.models.checkpoints.restore(model, path)."
        )
    model = build(expected if expected is not None and is_plugged(description) else description)
    _fill(model, tensors, path)
    return model.eval(), json.loads(metadata["notes"])


def restore(model: GenerativeModel, path: str | Path) -> GenerativeModel:
    """The model itself, with the weights of a checkpoint of genuq whose network is the same; the rest may differ.

    Raises:
        ArtefactError: missing or truncated.
        CheckpointError: not a genuq checkpoint, or weights that do not fit.
        NonFiniteError: NaN or infinite weights.
    """
    _fill(model, _read(path)[0], path)
    return model


def is_checkpoint(path: str | Path) -> bool:
    """Whether a file is a checkpoint of genuq's own format."""
    try:
        with files.opened(path) as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except ArtefactError:
        return False


ARCHIVE, PICKLE, LIGHTNING = b"PK\x03\x04", b"\x80", b"pytorch-lightning_version"  # how torch's own files begin
BRING_IN = (
    "genuq reads safetensors alone, since other files can hold code. Write a function that builds your model with "
    "these weights, torch.load(path, weights_only=True), and name it: model._target_=my_lab.my_model "
    "model.checkpoint=PATH (docs/own_model.md)."
)


def require_checkpoint(path: str | Path, key: str) -> None:
    """Raise an error unless a checkpoint of genuq's lies at a path, as far as its format says.

    Args:
        key: where the path was given.

    Raises:
        ConfigurationError: there is no such file, or it is a folder.
        CheckpointError: a file of another format, with what it is and how it is brought in.
    """
    path = Path(path)
    if os.path.isdir(path):
        if os.path.isfile(path / "model_index.json"):
            raise ConfigurationError(
                f"{key} = {path} is a pipeline of diffusers, not a file of weights: model=diffusers "
                f"model.pretrained={path}."
            )
        raise ConfigurationError(f"{key} = {path} is a folder, not a file of weights. {_bring_in(path)}")
    if not os.path.isfile(path):
        raise ConfigurationError(f"{key}: {path} does not exist. Correct the path.")
    if (other := foreign_format(path)) is not None:
        raise CheckpointError(f"{key} = {path} is {other}. {BRING_IN}")
    try:
        with files.opened(path):
            pass
    except ArtefactError as error:
        broken = "truncated, or no safetensors file. Copy it again, or bring in another"
        raise CheckpointError(f"{key} = {path} is {broken}: {BRING_IN}") from error


def _bring_in(folder: Path) -> str:
    """What to give in place of a folder: the one checkpoint that genuq would have written into it, if there is one."""
    own = [file for file in sorted(folder.glob("**/model.safetensors"))[:1] if is_checkpoint(file)]
    return f"Give {own[0]}." if own else BRING_IN


def foreign_format(path: str | Path) -> str | None:
    """What a file of weights is that is no safetensors, in words; else None. Nothing of it is unpickled."""
    with open(path, "rb") as file:
        start = file.read(9)
    if start[8:] == b"{":  # safetensors: before it stands the header's length, whose bytes may be any
        return None
    if start.startswith(PICKLE):
        return "a pickle, as torch.save wrote it before version 1.6"
    if not start.startswith(ARCHIVE):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("data.pkl")]
            lightning = any(LIGHTNING in archive.read(name) for name in names)
    except zipfile.BadZipFile:
        return "a zip archive, which is truncated"
    return "a checkpoint of Lightning" if lightning else "an archive of torch.save" if names else "a zip archive"


def _read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if os.path.isfile(path) and (what := foreign_format(path)) is not None:
        raise CheckpointError(f"{path} is {what}. {BRING_IN}")
    tensors, metadata = files.read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is no checkpoint of genuq (format '{metadata.get('format')}', not '{FORMAT}'). Of a pipeline of "
            f"diffusers give the whole folder, model=diffusers model.pretrained=FOLDER. {BRING_IN}"
        )
    return tensors, metadata


def _fill(model: GenerativeModel, tensors: Mapping[str, Tensor], path: str | Path) -> None:
    own = {k: v for k, v in model.state_dict().items() if k.startswith("autoencoder.autoencoder.")}
    load_weights(model, {**own, **tensors}, str(path))


def _require_same(found: Mapping[str, Any], expected: Mapping[str, Any], path: str | Path) -> None:
    left, right = (_flat(dict(side)) for side in (found, expected))
    differing = [
        f"{key}: {left.get(key, 'absent')} in the file, {right.get(key, 'absent')} in the configuration"
        for key in sorted(left.keys() | right.keys())
        if left.get(key) != right.get(key) and key != "head"
    ]
    if differing:
        raise CheckpointError(
            f"{path} holds another model than the configuration asks for. {'; '.join(differing)}. "
            "Change these keys, or train this model (stages=[train,...])."
        )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def load_reference(name: str, data: str = "fashion_mnist") -> GenerativeModel:
    """A model shipped with genuq.

    Args:
        name: `flow_matching`, `ddpm` or `latent_diffusion`.
        data: that it was trained on: `fashion_mnist`; `flow_matching` also `glyphs`, `shapes`, `triangles`,
            mixtures as `lattice_mixture_d2_sd0.1` (`d8`, `d32`), and `fashion_mnist_starved` (1 % of the bags),
            `fashion_mnist_unseen` (none) and `fashion_mnist_seen` (all, by networks of the same size).

    Raises:
        ConfigurationError: no such model is shipped.
    """
    return load_model(reference_path(f"{name}_{data}"))[0]


def save_classifier(path: str | Path, classifier: Classifier, options: Mapping[str, Any], accuracy: float) -> None:
    """Write the judge with its real-test accuracy."""
    tensors = {n: t.half() if t.is_floating_point() else t for n, t in classifier.state_dict().items()}
    notes = {"options": dict(options), "real_test_accuracy": accuracy}
    files.write_tensors(path, tensors, {"format": f"{FORMAT}-classifier", "notes": json.dumps(notes)})


def load_classifier(path: str | Path) -> tuple[Classifier, float]:
    """(classifier, its accuracy on real test images)."""
    tensors, metadata = files.read_tensors(path)
    if metadata.get("format") != f"{FORMAT}-classifier":
        raise CheckpointError(f"{path} is no classifier of genuq.")
    notes = json.loads(metadata["notes"])
    classifier = Classifier(**notes["options"])
    load_weights(classifier, tensors, str(path))
    return classifier.eval(), notes["real_test_accuracy"]


def checkpoint_weights(path: Path, model: GenerativeModel) -> dict[str, Tensor]:
    """The network's weights in a checkpoint of genuq, or in a plain safetensors file of its state dict.

    Raises:
        CheckpointError: trained in the latent space of another autoencoder.
    """
    tensors, metadata = files.read_tensors(path)
    if metadata.get("format") != FORMAT:
        return tensors
    own = {f"autoencoder.{name}": value for name, value in model.autoencoder.state_dict().items()}
    for name in own.keys() & tensors.keys():
        if not torch.allclose(own[name].cpu().float(), tensors[name].float(), rtol=1e-3, atol=1e-6):
            raise CheckpointError(
                f"{path} was trained in another latent space: its '{name}' differs from the model's. Members share "
                "one autoencoder."
            )
    return {name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")}
