"""A folder of a pipeline by its configurations alone, for plans: networks on torch's meta device, no weight read."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch

from genuq.errors import ConfigurationError
from genuq.pretrained.family import CLIP_TOKENS, call_defaults
from genuq.pretrained.loading import INDEX, class_of, pipeline_class, rescheduled
from genuq.pretrained.model import PretrainedModel, from_pipeline
from genuq.pretrained.register import family_of

_TEXTS = "text_encoder"  # what names of text encoders begin with
LONGEST_TEXT = 512  # tokens, of a pipeline that does not say


class DescribedEncoder:
    """A text encoder of which only the configuration is known.

    Attributes:
        config: what its config.json says.
        dtype: what sizes are told in.
    """

    dtype = torch.float32

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.config = SimpleNamespace(**settings)


def from_configuration(
    path: str | Path,
    dtype: Any = None,
    device: Any = None,
    scheduler: Mapping[str, Any] | None = None,
    **options: Any,
) -> PretrainedModel:
    """The model of a folder without its weights: on the meta device, its prompts counted and not encoded.

    Args:
        path: of the folder: `model_index.json`, and the configurations of the network, the autoencoder, the scheduler
            and the text encoders. Weights that lie there too are not looked at.
        dtype: that the weights would have; None: float32.
        device: left aside: it is the meta device.
        scheduler, options: as in `from_pretrained`.

    Raises:
        ConfigurationError: no such folder, no pipeline in it, one of an unknown class, a configuration that is missing
            or broken, or what `from_pipeline` refuses.
    """
    folder = Path(path)
    family = family_of([pipeline_class(folder)])
    pipe = _pipeline(folder, (family.component, "vae"), dtype or torch.float32)
    if scheduler:
        pipe.scheduler = rescheduled(pipe.scheduler, scheduler)
    return from_pipeline(pipe, outline=True, **options)


class TextEncoder(NamedTuple):
    """One of a pipeline's text encoders on the meta device, and the tokens of the longest text that it reads."""

    network: torch.nn.Module
    tokens: int


def text_encoders(path: str | Path, longest: int | None = None) -> list[TextEncoder]:
    """The text encoders of a folder of a pipeline, of which their configurations alone are read.

    Args:
        longest: in tokens, of those that are not CLIP's; None: the pipeline's default.

    Raises:
        ConfigurationError: a folder or a configuration that is missing or broken.
    """
    folder = Path(path)
    kind, found = class_of(folder), []
    own = longest or call_defaults(kind).get("max_sequence_length")
    for name, entry in _read(folder / INDEX).items():
        if name.startswith(_TEXTS) and isinstance(entry, list) and entry[-1] is not None:
            settings = _read(folder / name / "config.json")
            clip = int(settings.get("max_position_embeddings", CLIP_TOKENS)) if "CLIP" in str(entry[-1]) else None
            found.append(TextEncoder(_text_encoder(folder / name, entry[-1], settings), clip or own or LONGEST_TEXT))
    return found


def _text_encoder(folder: Path, name: Any, settings: Mapping[str, Any]) -> torch.nn.Module:
    """A part of transformers' by its configuration, on the meta device."""
    import transformers

    kind: Any = getattr(transformers, str(name), None)
    if not _is_a(kind, transformers.PreTrainedModel):
        raise ConfigurationError(f"{folder.parent / INDEX}: '{name}' of {folder.name} is no model of transformers'.")
    try:
        with torch.device("meta"):
            made: torch.nn.Module = kind(kind.config_class.from_dict(dict(settings)))
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, ImportError) as error:
        raise ConfigurationError(f"{folder / 'config.json'} does not describe a {name} ({error}).") from error
    return made.eval()


def _pipeline(folder: Path, networks: tuple[str, ...], dtype: torch.dtype) -> Any:
    """The pipeline with these networks on the meta device, scheduler and guiders; text encoders are only described."""
    kind, index = class_of(folder), _read(folder / INDEX)
    given: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(kind.__init__).parameters.items())[1:]:
        entry = index.get(name)
        if not isinstance(entry, list):
            given |= {name: entry} if name in index or parameter.default is parameter.empty else {}
        elif entry[-1] is None:
            given[name] = None
        elif name in networks:
            given[name] = described_part(folder / name, entry[-1], "ModelMixin", "meta")
            torch.nn.Module.to(given[name], dtype).eval()  # diffusers' own says what it does, more than once
        elif name == "scheduler":
            given[name] = described_part(folder / name, entry[-1], "SchedulerMixin", "cpu")
        elif name.endswith("guider"):
            given[name] = described_part(folder / name, entry[-1], "BaseGuidance", "cpu")
        else:
            given[name] = DescribedEncoder(_read(folder / name / "config.json")) if name.startswith(_TEXTS) else None
    if "requires_safety_checker" in inspect.signature(kind.__init__).parameters:  # nothing here would call it
        given["requires_safety_checker"] = False
    try:
        return kind(**given)
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"model.pretrained = '{folder}' could not be put together from its configurations: {error}. Save the "
            "pipeline again."
        ) from error


def described_part(folder: Path, name: Any, base: str, device: str) -> Any:
    """A part of diffusers' by its configuration.

    Args:
        folder: of the part.
        name: of its class.
        base: of diffusers', that the class must have.
        device: where its weights are drawn, `meta` for none.

    Raises:
        ConfigurationError: no such class, or a configuration that is missing or broken.
    """
    import diffusers

    kind: Any = getattr(diffusers, str(name), None)
    if not _is_a(kind, getattr(diffusers, base)):
        raise ConfigurationError(f"{folder.parent / INDEX}: '{name}' of {folder.name} is no {base} of diffusers'.")
    settings = _read(folder / kind.config_name)
    try:
        with torch.device(device):
            return kind.from_config(settings)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise ConfigurationError(
            f"{folder / kind.config_name} does not describe a {name} ({error}). Save the pipeline again."
        ) from error


def _is_a(kind: object, base: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error}), and a plan needs it: the folder of a pipeline has a configuration of "
            "each of its parts, with weights or without."
        ) from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path} is no configuration: it must hold names with values.")
    return found
