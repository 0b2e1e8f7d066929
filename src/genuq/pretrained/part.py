"""`model=diffusers`: a pipeline of diffusers as the model of a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch

from genuq.errors import ConfigurationError
from genuq.models import MODELS, GenerativeModel
from genuq.parts.bounds import Count, OneOf
from genuq.pretrained.hub import folder_of
from genuq.pretrained.loading import from_pretrained, pipeline_class
from genuq.pretrained.outline import from_configuration
from genuq.pretrained.register import family_of

PRECISIONS = ("float32", "float16", "bfloat16")
NAMES_A_FILE = re.compile(r"\S+\.(txt|text|md|csv|tsv|json|jsonl|lst|list|prompts)", re.IGNORECASE)
Texts = Any  # str | list[str] | None, of which a schema of Hydra's cannot be


def settled(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the folder in place of a hub's name, and texts in place of files of them.

    Raises:
        ConfigurationError: there is no such folder or file, or a file without a line.
    """
    found = dict(options)
    if found.get("pretrained") is not None:
        found["pretrained"] = str(folder_of(str(found["pretrained"]), bool(found.get("download"))))
    found["download"] = False
    if not found.get("compile"):
        found.pop("compile", None)  # stores know runs without it
    for name in ("prompts", "negative_prompt"):
        if found.get(name) is not None:
            found[name] = texts(found[name], f"model.{name}")
    return found


def texts(given: Any, key: str) -> str | list[str]:
    """Texts as they are, or the lines of a file: what names one, or looks as if it did, is no text.

    Args:
        key: where they were given.

    Raises:
        ConfigurationError: they are no texts, or there is no such file, or no line in it.
    """
    if isinstance(given, list) and all(isinstance(text, str) for text in given):
        return list(given)
    if not isinstance(given, str):
        raise ConfigurationError(f"{key} = {given!r} is no text: {key}='\"a red cat\"', a list of texts, or FILE.txt.")
    path = Path(given).expanduser()
    if not (NAMES_A_FILE.fullmatch(given) or _is_file(path)):
        return given
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{key} = '{given}' cannot be read ({error}). Give one text a line.") from error
    found = [line for line in lines if line]
    if not found:
        raise ConfigurationError(f"{key} = '{given}' has no lines. Write one text a line.")
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # longer than a path can be
        return False


@MODELS.add(
    label="Pipeline of diffusers",
    settle=settled,
    casts=True,
    internal=frozenset({"opened"}),
    outline={"opened": from_configuration},
)
def diffusers(
    pretrained: Path,
    prompts: Texts = None,
    negative_prompt: Texts = None,
    captions: str = "{}",
    height: Count | None = None,
    width: Count | None = None,
    frames: Count | None = None,
    embedded_guidance: float | None = None,
    max_sequence_length: Count | None = None,
    scheduler: dict[str, Any] | None = None,
    precision: Annotated[str, OneOf(*PRECISIONS)] | None = None,
    compile: bool = False,
    download: bool = False,
    class_names: list[str] | None = None,
    opened: Callable[..., GenerativeModel] = from_pretrained,
) -> GenerativeModel:
    """A pipeline that `save_pretrained` wrote, or one of the hub.

    Args:
        pretrained: its folder, or OWNER/NAME of the Hugging Face hub.
        prompts: that samples are asked for with, in turn: a text, several, or a file with one a line; null: the
            captions of the data.
        negative_prompt: one for all, or one for each caption and prompt; null: what the pipeline takes then.
        captions: what a training image is told of, with {} for the name of its class (the folder's, or its caption).
        height, width: of the images in pixels; null: the pipeline's own.
        frames: of films; 1: single images; null: the pipeline's own.
        embedded_guidance: the scale that a guidance-distilled network is told; null: the pipeline's own.
        max_sequence_length: of texts in tokens; null: the pipeline's own.
        scheduler: settings in place of the scheduler's own, {timestep_spacing: trailing} say; with `name`, of another
            class of diffusers' schedulers. It samples unless sampler=... is another.
        precision: of the weights; null: that of the files.
        compile: sampler.compile=true, for this model wherever its network is not watched.
        download: fetch what the hub's cache lacks.
        class_names: of the data.
        opened: what opens the folder.

    Raises:
        ConfigurationError: see `from_pretrained`; captions without {}.
    """
    if "{}" not in captions:
        raise ConfigurationError(f"model.captions = '{captions}' has no place for the class: write {{}} there.")
    prompted = family_of([pipeline_class(pretrained)]).prompted
    told = [captions.replace("{}", name) for name in class_names or []] if prompted else []
    dtype = None if precision is None else getattr(torch, precision)
    model = opened(
        pretrained,
        dtype=dtype,
        scheduler=scheduler,
        prompts=prompts,
        negative_prompt=negative_prompt,
        height=height,
        width=width,
        frames=frames,
        embedded_guidance=embedded_guidance,
        max_sequence_length=max_sequence_length,
        captions=told,
    )
    if compile:
        model.compile_network()
    return model
