"""Fingerprints of data sets on disk, remembered in the store: files that did not change are not read again."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genuq import files
from genuq.data import Dataset
from genuq.errors import ArtefactError
from genuq.store.artefact import CONTENTS, NAME_LENGTH, fingerprint

VERSION = 2  # raised whenever the same files get another fingerprint


def fingerprint_in(store: Path, dataset: Dataset, read_as: Mapping[str, Any], keep: bool = True) -> str:
    """The fingerprint of a data set: remembered for the state that its files are in, else made from their bytes.

    Args:
        store: with what is remembered.
        dataset: of which only `folder` is read where its fingerprint is known.
        read_as: plain data that, with the files, set what the data set holds.
        keep: whether to remember it; without, the store is only read.
    """
    if dataset.folder is None:
        return dataset.fingerprint
    state = files.state_of(dataset.folder)
    key = {"version": VERSION, "folder": str(dataset.folder.absolute()), "state": state, "read_as": dict(read_as)}
    path = store / CONTENTS / f"{fingerprint(key)[:NAME_LENGTH]}.json"
    with contextlib.suppress(ArtefactError, OSError, KeyError, TypeError):
        return str(files.read_json(path)["fingerprint"])
    if keep:
        with contextlib.suppress(OSError):  # a store that may only be read
            files.write_json(path, {"fingerprint": dataset.fingerprint})
    return dataset.fingerprint
