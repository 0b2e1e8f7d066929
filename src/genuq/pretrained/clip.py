"""CLIP score: how well images show the prompts that they were asked for with."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genuq.errors import ConfigurationError, DataError, require_finite
from genuq.pretrained.hub import Saved

CLIP = Saved(
    "a CLIPModel and its CLIPProcessor",
    "config.json",
    (
        *("config.json", "preprocessor_config.json", "processor_config.json", "model.safetensors"),
        *("model.safetensors.index.json", "model-*.safetensors", "tokenizer.json", "tokenizer_config.json"),
        *("vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json"),
    ),
    "metric.prompt_model",
    "metric.download",
)
REMEDY = (
    "It needs config.json, model.safetensors, and what the processor's save_pretrained writes (tokenizer.json, "
    "processor_config.json or preprocessor_config.json)."
)


class ClipModel:
    """The two towers of CLIP, for images and for texts.

    Args:
        folder: that `save_pretrained` of transformers' CLIPModel and CLIPProcessor wrote.

    Attributes:
        name: of the folder, for reports.
        longest: tokens of a text that are read, its marks among them; the rest is cut off.

    Raises:
        ConfigurationError: transformers is not installed, or the folder does not hold a whole CLIP as safetensors.
    """

    def __init__(self, folder: str | Path) -> None:
        self.name = named(Path(folder))
        self._model, self._processor = _loaded(Path(folder))
        self.longest = int(self._model.config.text_config.max_position_embeddings)

    @torch.no_grad()
    def of_images(self, images_NCHW: Tensor, batch_size: int = 64, device: torch.device | str = "cpu") -> Tensor:
        """Embeddings (N, D), float32 on the CPU, of uint8 images with 1 or 3 channels.

        Raises:
            DataError: images of another type or shape.
            NonFiniteError: embeddings that are not finite.
        """
        if images_NCHW.dtype != torch.uint8 or images_NCHW.ndim != 4 or images_NCHW.shape[1] not in (1, 3):
            raise DataError(
                f"CLIP reads uint8 images (N, C, H, W) of 1 or 3 channels, not {images_NCHW.dtype} "
                f"{tuple(images_NCHW.shape)}."
            )
        model = self._model.to(device)
        return _joined([self._embedded(model, part, device) for part in images_NCHW.split(batch_size)])

    def _embedded(self, model: Any, images_BCHW: Tensor, device: torch.device | str) -> Tensor:
        colour = images_BCHW.expand(-1, 3, -1, -1)
        given = self._processor.image_processor(
            list(colour), return_tensors="pt", input_data_format="channels_first", do_convert_rgb=False
        )
        # by the towers: `get_image_features` gives a tensor before transformers 5 and an object since
        seen = model.vision_model(pixel_values=given["pixel_values"].to(device))
        return model.visual_projection(seen.pooler_output)

    @torch.no_grad()
    def of_texts(self, texts: Sequence[str], batch_size: int = 64, device: torch.device | str = "cpu") -> Tensor:
        """Embeddings (P, D), float32 on the CPU; of a text that is too long the beginning is read."""
        model, found = self._model.to(device), []
        for start in range(0, len(texts), batch_size):
            tokens = self._tokens(list(texts[start : start + batch_size]), padding=True, return_tensors="pt")
            read = model.text_model(
                input_ids=tokens["input_ids"].to(device), attention_mask=tokens["attention_mask"].to(device)
            )
            found.append(model.text_projection(read.pooler_output))
        return _joined(found)

    def too_long(self, texts: Sequence[str]) -> list[int]:
        """The places of those texts of which only the beginning is read."""
        whole = self._processor.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        return [place for place, tokens in enumerate(whole) if len(tokens) > self.longest]

    def _tokens(self, texts: list[str], **options: Any) -> Any:
        return self._processor.tokenizer(texts, truncation=True, max_length=self.longest, **options)


def clip_score(images_ND: Tensor, texts_ND: Tensor) -> Tensor:
    """CLIP score of pairs of an image and a text by their embeddings: 100 max(cos, 0), (N,) float64 in [0, 100].

    Source: Hessel et al., CLIPScore, EMNLP 2021, with the factor 100 of torchmetrics in place of their 2.5, and without
        their "A photo depicts" before the text.
    """
    cosine_N = torch.nn.functional.cosine_similarity(images_ND.double(), texts_ND.double(), dim=1)
    return 100 * cosine_N.clamp(0, 1)


def named(folder: Path) -> str:
    """OWNER/NAME where the folder is a snapshot in the hub's cache (models--OWNER--NAME/snapshots/COMMIT)."""
    above = folder.parent.parent.name
    return above.removeprefix("models--").replace("--", "/") if above.startswith("models--") else folder.name


def _joined(parts: Sequence[Tensor]) -> Tensor:
    found = torch.cat([part.float().cpu() for part in parts])
    require_finite(found, "An embedding of CLIP", "The weights of metric.prompt_model are broken.")
    return found


def _loaded(folder: Path) -> tuple[Any, Any]:
    if find_spec("transformers") is None:
        raise ConfigurationError(f"{CLIP.key} = '{folder}' needs transformers: pip install 'genuq[pretrained]'.")
    _require_clip(folder)
    import transformers

    towers: Any = transformers.CLIPModel  # whose types know no `output_loading_info`
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _unsaid():
            model, told = towers.from_pretrained(str(folder), use_safetensors=True, output_loading_info=True, **options)
            processor = transformers.CLIPProcessor.from_pretrained(str(folder), **options)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, ImportError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ConfigurationError(f"{CLIP.key} = '{folder}' could not be loaded: {reason} {REMEDY}") from error
    if told["missing_keys"] or told.get("mismatched_keys"):
        lacking = sorted(map(str, [*told["missing_keys"], *told.get("mismatched_keys", [])]))
        raise ConfigurationError(
            f"{CLIP.key} = '{folder}' lacks {len(lacking)} of CLIP's weights ({lacking[0]}, ...). {REMEDY}"
        )
    return model.float().eval(), processor


def _require_clip(folder: Path) -> None:
    path = folder / CLIP.index
    try:
        kind = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"{CLIP.key} = '{folder}' does not hold {CLIP.what} ({CLIP.index} is not there or is not JSON). {REMEDY}"
        ) from error
    if kind != "clip":
        raise ConfigurationError(
            f"{CLIP.key} = '{folder}' holds a model of type '{kind}', not 'clip': give a CLIP of transformers'."
        )


@contextlib.contextmanager
def _unsaid() -> Iterator[None]:
    """Without transformers' bars and its notes on weights, of which what matters is said as an error."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
