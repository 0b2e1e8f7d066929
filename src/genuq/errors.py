"""Errors that a user can act on. Each message names what was given, what would be right, and the key to change."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Hydra, in any program of its, imports genuq's plugin and so these
    import torch


class GenuqError(ValueError):
    """Base of every error that genuq raises for bad input."""


class ConfigurationError(GenuqError):
    """A configuration key or value that cannot work."""


class DataError(GenuqError):
    """Data that is missing, corrupt or of the wrong shape."""


class CheckpointError(GenuqError):
    """Weights that do not fit the network."""


class ArtefactError(GenuqError):
    """A file of ours that is missing, truncated, altered or from another run."""


class StorageError(GenuqError):
    """A disk that is full."""


class ProcessError(GenuqError):
    """Another process of the same job that died."""


class SearchError(GenuqError):
    """A search that found nothing."""


class NonFiniteError(GenuqError):
    """NaN or infinite values where numbers are required."""


LISTED = 60  # candidates that a message names


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the nearest candidate and the list of all, ready to append to a message.

    Of very many, such as the layers of a large network, the nearest are listed.
    """
    known = sorted(str(candidate) for candidate in candidates)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    if len(known) > LISTED:
        nearest = difflib.get_close_matches(word, known, n=LISTED // 4, cutoff=0.0)
        return f"{hint} Known: {', '.join(sorted(nearest))} and {len(known) - len(nearest)} more."
    return f"{hint} Known: {', '.join(known)}." if known else hint


def has_numbers(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds any: those of plans have only a shape, on torch's meta device or as fake ones."""
    return type(tensor).__name__ != "FakeTensor" and not tensor.is_meta


def require_finite(tensor: torch.Tensor, what: str, remedy: str) -> None:
    """Raise NonFiniteError unless every entry of `tensor` is finite.

    Args:
        tensor: any floating tensor; integers, and tensors without numbers, always pass.
        what: the name that the message gives it, for instance `weight 'out.bias'`.
        remedy: what the user can do about it.
    """
    if not has_numbers(tensor) or not tensor.is_floating_point():
        return
    if tensor.element_size() == 1:  # torch asks some of the float8 types for nothing
        tensor = tensor.float()
    # The sum of many finite numbers is finite as a rule, and one that is not makes it so: a single pass over them.
    if bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all()):
        return
    nan, infinite = int(tensor.isnan().sum()), int(tensor.isinf().sum())
    raise NonFiniteError(f"{what} has {nan} NaN and {infinite} infinite of {tensor.numel()} values. {remedy}")
