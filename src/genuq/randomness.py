"""Randomness keyed by (seed, index, stream): sample n is the same at any batch size, process count or order.

One CPU generator per sample; the numbers are made on the CPU and moved, so that a GPU draws the same ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

INITIAL, ANCESTRAL, WEIGHTS, JITTER, PIXELS, CONTROL = (
    "initial noise",
    "ancestral noise",
    "weights",
    "initial-noise jitter",
    "pixel noise",
    "random score",
)
TRAINING, FITTING, HELD_OUT, SUBSET = "training noise", "fitting noise", "held-out noise", "subset"
FISHER = "Monte-Carlo Fisher"


def key(seed: int, index: int, stream: str) -> int:
    """A 63-bit key from (seed, index, stream), the same on every platform."""
    digest = hashlib.blake2b(f"{seed}/{index}/{stream}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, index: int, stream: str) -> torch.Generator:
    """The generator that belongs to one sample (or one weight draw) and one purpose.

    torch's CPU generator takes the low 32 bits of a seed: among 12,000 samples two share their noise with probability
    0.02, among 50,000 with 0.25. Such a pair counts as one sample; nothing else is affected.
    """
    return torch.Generator("cpu").manual_seed(key(seed, index, stream))


def generators(seed: int, indices: Sequence[int] | Tensor, stream: str) -> list[torch.Generator]:
    return [generator(seed, int(index), stream) for index in indices]


def normal(sources: Sequence[torch.Generator], shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal (B, *shape), row b from generator b."""
    return torch.stack([torch.randn(tuple(shape), generator=source, dtype=dtype) for source in sources])


def uniform(sources: Sequence[torch.Generator], shape: Sequence[int] = ()) -> Tensor:
    """Uniform on [0, 1), (B, *shape), row b from generator b."""
    return torch.stack([torch.rand(tuple(shape), generator=source) for source in sources])


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """The global generators of torch, NumPy and Python are afterwards where they were before."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


def seed_everything(seed: int) -> None:
    """Set the global generators of torch, NumPy and Python: for networks that draw their first weights from them.

    Args:
        seed: from 0 to 2^32 - 1, the largest that NumPy takes.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
