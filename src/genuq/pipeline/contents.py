"""Fingerprints of data sets and pretrained models on disk, remembered in the store by the state of their files."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genuq import files
from genuq.data import Dataset
from genuq.errors import ArtefactError
from genuq.store.artefact import CONTENTS, NAME_LENGTH, fingerprint

VERSION = 2  # raised whenever the same files get another fingerprint


def fingerprint_in(
    store: Path,
    dataset: Dataset,
    read_as: Mapping[str, Any],
    keep: bool = True,
    state: list[int | str] | None = None,
) -> str:
    """The fingerprint of a data set: remembered for the state that its files are in, else made from their bytes.

    Args:
        store: with what is remembered.
        dataset: of which only `folder` is read where its fingerprint is known.
        read_as: plain data that, with the files, set what the data set holds.
        keep: whether to remember it; without, the store is only read.
        state: of the folder, where it is known.
    """
    if dataset.folder is None:
        return dataset.fingerprint
    state = state or files.state_of(dataset.folder)
    key = {"version": VERSION, "folder": str(dataset.folder.absolute()), "state": state, "read_as": dict(read_as)}
    path = _path(store, key)
    with contextlib.suppress(ArtefactError, OSError, KeyError, TypeError):
        return str(files.read_json(path)["fingerprint"])
    if keep:
        with contextlib.suppress(OSError):  # a store that may only be read
            files.write_json(path, {"fingerprint": dataset.fingerprint})
    return dataset.fingerprint


@dataclass(frozen=True)
class ModelContents:
    """What identifies a model that is read from files.

    Attributes:
        files: their digests, by the option that names them.
        built: digest of its weights.
    """

    files: dict[str, str]
    built: str


def model_key(made_of: Mapping[str, Any], places: Mapping[str, Path]) -> dict[str, Any]:
    """What a model's contents are remembered by.

    Args:
        made_of: plain data that, with the files, set its weights.
        places: its files and folders, by option.
    """
    states = {name: [str(place.absolute()), files.state_of(place)] for name, place in places.items()}
    return {"version": VERSION, "model": dict(made_of), "files": states}


def remember_model(store: Path, key: Mapping[str, Any], contents: ModelContents) -> None:
    """Keep what identifies a model; in a store that may only be read nothing is kept."""
    with contextlib.suppress(OSError):
        files.write_json(_path(store, key), {"files": contents.files, "built": contents.built})


def known_model(store: Path, key: Mapping[str, Any]) -> ModelContents | None:
    """What identifies a model whose files did not change since a run read them; None: no run did."""
    with contextlib.suppress(ArtefactError, OSError, KeyError, TypeError):
        entry = files.read_json(_path(store, key))
        return ModelContents(dict(entry["files"]), str(entry["built"]))
    return None


def _path(store: Path, key: Mapping[str, Any]) -> Path:
    return store / CONTENTS / f"{fingerprint(key)[:NAME_LENGTH]}.json"
