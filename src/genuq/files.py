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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from genuq.errors import ArtefactError

if TYPE_CHECKING:
    from torch import Tensor

PARTIAL = ".partial"  # ends the name of a file that is not whole yet


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


def write_json(path: str | Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, sort_keys=False, allow_nan=False) + "\n")


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
    if not Path(path).is_file():
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


def stat_of(path: Path) -> list[int]:
    """Size in bytes, and time of the last change in nanoseconds."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def plain(value: Any) -> Any:
    """`value` as strict JSON types: NaN and infinities become None, arrays become lists, paths become text."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if hasattr(value, "tolist"):  # tensors, NumPy's arrays and numbers
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
