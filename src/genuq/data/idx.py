"""The idx format of MNIST and Fashion-MNIST: a magic number, big-endian sizes, then the bytes.

Format: https://web.archive.org/web/2016/http://yann.lecun.com/exdb/mnist/
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from genuq.data.routes import AbsentError
from genuq.errors import DataError

UNSIGNED_BYTE = 0x08


def parse_idx(content: bytes, name: str) -> Tensor:
    """The uint8 tensor in the content of an idx file.

    Raises:
        DataError: not idx, not bytes, or of another length than its header says; the message begins with `name`.
    """
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(f"{name} is not an idx file: it must begin with two zero bytes.")
    kind, dimensions = content[2], content[3]
    if kind != UNSIGNED_BYTE:
        raise DataError(f"{name} holds idx type 0x{kind:02x}; only unsigned bytes (0x08) are read.")
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{name} is truncated inside its header of {start} bytes.")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) != start + prod(shape):
        raise DataError(f"{name} has {len(content)} bytes; its header {shape} asks for {start + prod(shape)}.")
    return torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8).reshape(shape)


def read_plain_or_gzip(folder: Path, file: str, subfolders: Sequence[str]) -> bytes:
    """The decompressed content of `file`, plain or `.gz`, in the first of the subfolders that has it.

    Raises:
        AbsentError: it is in none of them.
        DataError: the compressed file is damaged.
    """
    places = [folder / sub / f"{file}{suffix}" for sub in subfolders for suffix in ("", ".gz")]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        looked = ", ".join(str(Path(sub) / file) for sub in subfolders)
        raise AbsentError(f"{folder} has none of {looked} (plain or .gz)")
    content = path.read_bytes()
    try:
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is truncated or not gzip ({error})") from error
