"""Pipelines of the Hugging Face hub: the copy that lies in its cache, or a download that was asked for."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from genuq.display import Display
from genuq.errors import ConfigurationError

# What a pipeline's folder is made of: its configurations, tokenizers and the weights of its parts, nothing executable.
WANTED = ("model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.jinja", "*/*.safetensors")
VARIANTS = (
    "*.fp16.*",
    "*.bf16.*",
    "*.fp32.*",
    "*.non_ema.*",
    "*.fp16-*",
    "*.bf16-*",
)  # of weights that come plainly too
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def folder_of(name: str, download: bool = False, display: Display | None = None, endpoint: str | None = None) -> Path:
    """The folder of a pipeline, by its path or its name on the hub.

    Args:
        name: a folder, or OWNER/NAME, of which the hub's cache (HF_HOME) may hold a copy.
        download: fetch what the cache lacks, after a line that says what and how many bytes.
        display: shows that line.
        endpoint: of the hub; None: HF_ENDPOINT's, or huggingface.co.

    Raises:
        ConfigurationError: no such folder, no copy in the cache and no download asked for, or one that fails.
    """
    place = Path(name).expanduser()
    if place.is_dir():
        return place.absolute()
    if not _REPOSITORY.fullmatch(name):
        raise ConfigurationError(
            f"model.pretrained = '{name}' is no folder. Give the one that a pipeline's save_pretrained wrote, or "
            "OWNER/NAME of the Hugging Face hub."
        )
    if download:
        return _downloaded(name, display or Display(), endpoint)
    try:
        return _snapshot(name, endpoint, unasked=True)
    except LocalEntryNotFoundError as error:
        raise ConfigurationError(
            f"model.pretrained = '{name}' is no folder here, and the hub's cache ({_cache()}) has no copy. Set "
            "model.download=true to fetch it (what and how many bytes is said first), or give a folder that has it."
        ) from error


def _downloaded(name: str, display: Display, endpoint: str | None) -> Path:
    """The folder in the cache, complete."""
    try:
        info = huggingface_hub.HfApi(endpoint=endpoint).model_info(name, files_metadata=True)
        files = {each.rfilename: each.size or 0 for each in info.siblings or []}
        chosen = wanted(files)
        if "model_index.json" not in chosen:
            raise ConfigurationError(f"model.pretrained = '{name}' holds no pipeline: it has no model_index.json.")
        size = sum(files[each] for each in chosen)
        display.say(f"Downloading {name}: {len(chosen)} files, {size:,} bytes, to {_cache()}.")
        return _snapshot(name, endpoint)
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        raise ConfigurationError(
            f"model.pretrained = '{name}' could not be downloaded: {_first_line(error)} Check the name, the licence "
            "that it may ask for (HF_TOKEN), the network and HF_HUB_OFFLINE; or copy its folder here."
        ) from error


def _snapshot(name: str, endpoint: str | None, unasked: bool = False) -> Path:
    """The folder of a snapshot, of which no more is asked than what is read: others' caches may hold no more."""
    return Path(
        huggingface_hub.snapshot_download(
            name,
            endpoint=endpoint,
            allow_patterns=list(WANTED),
            ignore_patterns=list(VARIANTS),
            local_files_only=unasked,
        )
    )


def wanted(files: Iterable[str]) -> list[str]:
    """The files of a repository that its pipeline is read from."""
    return sorted(name for name in files if _matches(name, WANTED) and not _matches(name, VARIANTS))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _first_line(error: Any) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _cache() -> str:
    return str(huggingface_hub.constants.HF_HUB_CACHE)
