"""A full disk, told as such: what is full, what is kept, and what to do."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from genuq.errors import StorageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
WORDS = ("No space left", "Disk quota exceeded", "File too large", "file write failed", "PytorchStreamWriter failed")


@contextlib.contextmanager
def reporting_full_disk(folder: Path) -> Iterator[None]:
    """Turn whatever a library raises where the disk is full into a StorageError that says what to do."""
    try:
        yield
    except Exception as error:
        if not is_full_disk(error):
            raise
        raise StorageError(
            f"the disk is full: {folder} could not be written ({free_bytes(folder) / 2**20:.0f} MiB are free). Nothing "
            "finished is lost. Free some space (`genuq store prune` lists what no run needs any more) or choose "
            "another disk (store=PATH), and run the same command again: it goes on where it stopped."
        ) from error


def is_full_disk(error: BaseException) -> bool:
    """Whether an error, or what caused it, is a file system's refusal of more bytes."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, OSError) and chain.errno in FULL:
            return True
        if any(word in str(chain) for word in WORDS):  # safetensors and torch wrap it in errors of their own
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of a folder that may not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
