"""Whole files or none: atomic writes, checked reads, nothing executable.

A file appears under its name only when complete (temporary name in the same folder, fsync, rename).
Tensors travel as safetensors with a small string metadata; reading verifies the format and names what is wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from genuq.errors import ArtefactError

if TYPE_CHECKING:
    from torch import Tensor

PARTIAL = ".partial"  # ends the name of a file that is not whole yet
LONGEST = 200  # bytes of a name; file systems take 255, with what is put before and after it


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` on success, remove it on failure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def plain(value: Any) -> Any:
    """`value` as strict JSON types: NaN and infinities become None, arrays become lists, paths become text.

    A dataclass becomes an object whose keys are its fields, in their order; `entries.from_json` reads it back.
    """
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if hasattr(value, "tolist"):  # tensors, NumPy's arrays and numbers
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def flattened(nested: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """`{"model": {"name": "ddpm"}}` as `{"model.name": "ddpm"}`."""
    found: dict[str, Any] = {}
    for key, value in nested.items():
        inner = flattened(value, separator) if isinstance(value, Mapping) else {"": value}
        found |= {f"{key}{separator}{name}" if name else key: entry for name, entry in inner.items()}
    return found


def looked_up(nested: Mapping[str, Any], key: str, missing: Any = None) -> Any:
    """What stands under a dotted key, `model.name`; `missing` where nothing does."""
    entry: Any = nested
    for part in key.split("."):
        if not isinstance(entry, Mapping) or part not in entry:
            return missing
        entry = entry[part]
    return entry


def as_json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=False, allow_nan=False) + "\n"


def write_json(path: str | Path, value: Any) -> None:
    write_text(path, as_json(value))


def read_json(path: str | Path) -> Any:
    """Parsed JSON.

    Raises:
        ArtefactError: the file is missing or not JSON (truncated, say).
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtefactError(f"{path} does not exist. Run the stage that makes it.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{path} is not whole JSON ({error}). Delete it and run its stage again.") from error


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    from safetensors.torch import save_file  # with torch, which takes seconds and which not every command needs

    with replacing(path) as temporary:
        whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        save_file(whole, str(temporary), metadata=dict(metadata or {}))
        _sort_metadata(temporary)


def _sort_metadata(path: Path) -> None:
    """Sort the metadata of a safetensors file, which come in random order: the same content is the same bytes."""
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        if "__metadata__" not in header:
            return
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= length, "the same header in another order is as long"
        file.seek(8)
        file.write(text.ljust(length))


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[Any]:
    """A safetensors file, of which nothing but the header is read yet.

    Raises:
        ArtefactError: the file is missing, truncated or not safetensors, or lacks what is read.
    """
    if not os.path.isfile(path):
        raise ArtefactError(f"{path} does not exist. Run the stage that makes it, or correct the path.")
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise ArtefactError(f"{path} is truncated or not a safetensors file ({error}). Make it again.") from error


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors and the metadata of a safetensors file; raises as `opened`."""
    with opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118


def tensor_names(path: str | Path) -> list[str]:
    """Names of the tensors of a safetensors file; raises as `opened`."""
    with opened(path) as file:
        return list(file.keys())


def read_rows(path: str | Path, name: str, start: int, stop: int) -> Tensor:
    """Rows of one tensor of a safetensors file, without reading the rest; raises as `opened`."""
    with opened(path) as file:
        return file.get_slice(name)[start:stop]


def sha256(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_folder(folder: str | Path) -> str:
    """Of the names and bytes of all files below a folder, wherever it lies."""
    digest = hashlib.sha256()
    for name, path in _files_below(folder):
        digest.update(f"{name}\0{sha256(path)}\0".encode())
    return digest.hexdigest()


def stat_of(path: str | Path) -> list[int]:
    """Size in bytes, and time of the last change in nanoseconds."""
    stat = os.stat(path)
    return [stat.st_size, stat.st_mtime_ns]


def state_of(path: str | Path) -> list[int | str]:
    """By what a change of a file or a folder is noticed without reading it.

    Returns:
        Of a file as `stat_of`. Of a folder how many files lie below it, and a digest of their names, sizes, times of
        change, inodes, and times of change of these, which no copying or renaming leaves as they were.

    Raises:
        OSError: there is no such file or folder.
    """
    if not os.path.isdir(path):
        return [*stat_of(path)]
    digest, below = hashlib.sha256(), list(_files_below(path))
    for name, file in below:
        stat = os.stat(file)
        state = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        digest.update(f"{name}\0{state}\0".encode())
    return [len(below), digest.hexdigest()]


def _files_below(folder: str | Path) -> Iterator[tuple[str, str]]:
    """(name relative to the folder, path) of all files at any depth, sorted, without links that lead nowhere."""
    found = (os.path.join(place, name) for place, _, names in os.walk(folder, followlinks=True) for name in names)
    return ((os.path.relpath(path, folder), path) for path in sorted(found) if os.path.exists(path))
