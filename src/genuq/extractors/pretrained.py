"""CLIP, DINO, DINOv2 and every other image encoder of timm as an extractor."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated, Any

import huggingface_hub
import timm
import torch
from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError
from timm.data import resolve_model_data_config
from timm.models import PretrainedCfg
from torch import Tensor, nn
from torchvision.transforms import Normalize

from genuq import files
from genuq.errors import CheckpointError, ConfigurationError
from genuq.extractors.base import Extractor, WeightsUnavailableError
from genuq.extractors.encoders import ENCODERS, Encoder
from genuq.extractors.images import Filter, resize, to_rgb
from genuq.extractors.weights import read_weights
from genuq.parts.bounds import Limits

# Where timm's repositories on the Hugging Face hub keep their weights, in timm's order of preference.
HUB_FILES = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")
PROBE_SECONDS = 5


class Timm(Extractor):
    """Pooled features of a timm model, with the mean, deviation and size of its training.

    Args:
        name: a short name (clip, dino, dinov2) or any model name of timm, with the tag of its weights.
        image_size: side of the input in pixels; None takes the encoder's own.
        pretrained: False leaves the weights random, for tests.
        checkpoint: a file with the weights (safetensors, or a state dict of torch), instead of a download.
    Raises:
        ConfigurationError: a name that timm does not know.
        WeightsUnavailableError: no cached weights and no connection (found out in one request, without retries).
        CheckpointError: the checkpoint is unreadable or does not fit the model.
    """

    def __init__(
        self,
        name: str,
        image_size: Annotated[int, Limits(1, 4096)] | None = None,
        pretrained: bool = True,
        checkpoint: str | Path | None = None,
    ) -> None:
        encoder = ENCODERS.get(name, Encoder(name))
        model, weights = _create(encoder, image_size or encoder.image_size, pretrained, checkpoint)
        data = resolve_model_data_config(model)
        size = image_size or encoder.image_size or data["input_size"][-1]
        with torch.no_grad():
            dimension = model(torch.zeros(1, 3, size, size)).shape[-1]
        super().__init__(f"{_full_name(encoder.model)}-{size}{weights}", dimension)
        self.image_size = size
        self.filter: Filter = "bilinear" if data["interpolation"] == "bilinear" else "bicubic"
        self.normalise = Normalize(data["mean"], data["std"])
        self.model = model.requires_grad_(False)
        self.eval()

    def embed(self, images_BCHW: Tensor) -> Tensor:
        resized = to_rgb(resize(images_BCHW, self.image_size, self.filter))
        return self.model(self.normalise(resized))


def _create(
    encoder: Encoder, image_size: int | None, pretrained: bool, checkpoint: str | Path | None
) -> tuple[nn.Module, str]:
    """The model in evaluation mode, and what its weights add to the extractor's name."""
    configuration = _configuration(encoder.model)
    options: dict[str, Any] = {} if encoder.projection else {"num_classes": 0}
    if image_size is not None and configuration.fixed_input_size:
        options["img_size"] = image_size
    if checkpoint is None and not pretrained:
        return timm.create_model(encoder.model, pretrained=False, **options).eval(), "-untrained"
    source = Path(checkpoint) if checkpoint is not None else _published(encoder.model, configuration.hf_hub_id)
    model = timm.create_model(encoder.model, pretrained=False, **options).eval()
    _load(model, configuration, source)
    return model, "" if checkpoint is None else f"-sha256-{files.sha256(source)[:8]}"


def _configuration(model: str) -> PretrainedCfg:
    """What timm knows of the weights; an unknown name ends here, before anything is built."""
    try:
        configuration = timm.get_pretrained_cfg(model, allow_unregistered=False)
    except RuntimeError as error:
        near = difflib.get_close_matches(model, [*ENCODERS, *timm.list_pretrained()], n=3)
        hint = f" Near: {', '.join(near)}." if near else ""
        raise ConfigurationError(f"'{model}' is not a model of timm. {error}{hint}") from error
    assert configuration is not None  # guaranteed by allow_unregistered=False
    return configuration


def _full_name(model: str) -> str:
    """The model's name with the tag of its weights, also where the user left timm's default tag out."""
    configuration = _configuration(model)
    return f"{configuration.architecture}.{configuration.tag}" if configuration.tag else str(configuration.architecture)


def _load(model: nn.Module, configuration: PretrainedCfg, path: Path) -> None:
    """Load a checkpoint in timm's own or in the original layout, strictly but for an unused classifier."""
    state = read_weights(path)
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    try:
        state = convert(state, model) if convert else state
        unused = _classifier_prefixes(configuration) if model.num_classes == 0 else ()
        model.load_state_dict({key: value for key, value in state.items() if not key.startswith(unused)})
    except (RuntimeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} does not fit {configuration.architecture}. {error}") from error


def _classifier_prefixes(configuration: PretrainedCfg) -> tuple[str, ...]:
    names = configuration.classifier or ()
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))


def _published(model: str, repository: str | None) -> Path:
    """The file of the published weights, from the hub's cache or by a download: timm's own loader is not asked."""
    found = _cached_weights(repository)
    if found is not None:
        return found
    _require_reachable(model, repository)
    return _downloaded(model, str(repository))


def _downloaded(model: str, repository: str) -> Path:
    for name in HUB_FILES:
        try:
            return Path(huggingface_hub.hf_hub_download(repository, name))
        except Exception as error:  # every transport has its own family of errors
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                continue  # the repository has no such file; the local one means that the hub could not be asked
            raise WeightsUnavailableError(
                f"The weights of '{model}' could not be downloaded ({type(error).__name__}: {error}). Try again, or "
                f"get {name} of {repository} elsewhere and set `checkpoint` to it."
            ) from error
    raise WeightsUnavailableError(f"{repository} has none of {', '.join(HUB_FILES)}. Give a file with `checkpoint`.")


def _cached_weights(repository: str | None) -> Path | None:
    if repository is None:
        return None
    for name in HUB_FILES:
        found = huggingface_hub.try_to_load_from_cache(repository, name)
        if isinstance(found, str):
            return Path(found)
    return None


def _require_reachable(model: str, repository: str | None) -> None:
    """One short request, since timm itself retries for most of a minute when there is no network."""
    if repository is None:
        raise WeightsUnavailableError(f"timm has no weights for '{model}' on the hub. Give a file with `checkpoint`.")
    url = huggingface_hub.hf_hub_url(repository, "config.json")
    try:
        huggingface_hub.get_hf_file_metadata(url, timeout=PROBE_SECONDS)
    except Exception as error:  # every transport has its own family of errors; none of them helps the user further
        raise WeightsUnavailableError(
            f"The weights of '{model}' are not in the cache and the Hugging Face hub does not answer "
            f"({type(error).__name__}). With a connection they download by themselves. Without one: on another machine "
            f"run `hf download {repository} model.safetensors`, then set `checkpoint` to that file here, or copy the "
            "cache folder and point HF_HOME at it. The extractor 'efficientnet' needs no download."
        ) from error
