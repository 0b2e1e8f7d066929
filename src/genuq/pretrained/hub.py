"""Folders of the Hugging Face hub: the copy that lies in its cache, or a download that was asked for."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Saved:
    """What a folder holds, and where the configuration names it.

    Attributes:
        what: in words.
        index: the file without which it is none.
        wanted: patterns of the files that it is read from.
        key: of the configuration, that names it.
        download: of the configuration, that allows a download.
    """

    what: str
    index: str
    wanted: tuple[str, ...]
    key: str
    download: str


PIPELINE = Saved("a pipeline", "model_index.json", WANTED, "model.pretrained", "model.download")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def folder_of(
    name: str,
    download: bool = False,
    display: Display | None = None,
    endpoint: str | None = None,
    saved: Saved = PIPELINE,
) -> Path:
    """The folder of a pipeline or a model, by its path or its name on the hub.

    Args:
        name: a folder, or OWNER/NAME, of which the hub's cache (HF_HOME) may hold a copy.
        download: fetch what the cache lacks, after a line that says what and how many bytes.
        display: shows that line.
        endpoint: of the hub; None: HF_ENDPOINT's, or huggingface.co.
        saved: what it must hold.

    Raises:
        ConfigurationError: no such folder, no copy in the cache and no download asked for, or one that fails.
    """
    place = Path(name).expanduser()
    if place.is_dir():
        return place.absolute()
    if not _REPOSITORY.fullmatch(name):
        raise ConfigurationError(
            f"{saved.key} = '{name}' is no folder. Give the one that save_pretrained of {saved.what} wrote, or "
            "OWNER/NAME of the Hugging Face hub."
        )
    if download:
        return _downloaded(name, display or Display(), endpoint, saved)
    try:
        return _snapshot(name, endpoint, saved, unasked=True)
    except LocalEntryNotFoundError as error:
        raise ConfigurationError(
            f"{saved.key} = '{name}' is no folder here, and the hub's cache ({_cache()}) has no copy. Set "
            f"{saved.download}=true to fetch it (what and how many bytes is said first), or give a folder that has it."
        ) from error


def _downloaded(name: str, display: Display, endpoint: str | None, saved: Saved) -> Path:
    """The folder in the cache, complete."""
    try:
        info = huggingface_hub.HfApi(endpoint=endpoint).model_info(name, files_metadata=True)
        files = {each.rfilename: each.size or 0 for each in info.siblings or []}
        chosen = wanted(files, saved)
        if saved.index not in chosen:
            raise ConfigurationError(f"{saved.key} = '{name}' does not hold {saved.what}: it has no {saved.index}.")
        size = sum(files[each] for each in chosen)
        display.say(f"Downloading {name}: {len(chosen)} files, {size:,} bytes, to {_cache()}.")
        return _snapshot(name, endpoint, saved)
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        raise ConfigurationError(
            f"{saved.key} = '{name}' could not be downloaded: {_first_line(error)} Check the name, the licence "
            "that it may ask for (HF_TOKEN), the network and HF_HUB_OFFLINE; or copy its folder here."
        ) from error


def _snapshot(name: str, endpoint: str | None, saved: Saved, unasked: bool = False) -> Path:
    """The folder of a snapshot, of which no more is asked than what is read: others' caches may hold no more."""
    return Path(
        huggingface_hub.snapshot_download(
            name,
            endpoint=endpoint,
            allow_patterns=list(saved.wanted),
            ignore_patterns=list(VARIANTS),
            local_files_only=unasked,
        )
    )


def wanted(files: Iterable[str], saved: Saved = PIPELINE) -> list[str]:
    """The files of a repository that it is read from."""
    return sorted(name for name in files if _matches(name, saved.wanted) and not _matches(name, VARIANTS))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _first_line(error: Any) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _cache() -> str:
    return str(huggingface_hub.constants.HF_HUB_CACHE)
