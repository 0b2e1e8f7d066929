"""The scale that a run was made at: as its study asks, `full`, or at another, of which no number is a result.

Studies of different scales have different names, so that nothing that reads the records of one sees those of the other.
"""

from __future__ import annotations

FULL = "full"
SIGN = "@"  # before the scale in names


def at_scale(name: str, scale: str) -> str:
    """The name of a study, a sweep or a run at a scale: `table1`, or `table1@smoke`; the same where it says so already.

    Args:
        name: of it at full scale, or at this one.
    """
    mark = mark_of(scale)
    return name if name.endswith(mark) else f"{name}{mark}"


def mark_of(scale: str) -> str:
    """What the scale adds to names; nothing at full scale."""
    return "" if scale == FULL else f"{SIGN}{scale}"


def scale_of(name: str) -> str:
    """The scale that the name of a study tells."""
    return name.rpartition(SIGN)[2] if SIGN in name else FULL


def warning_of(scale: str) -> str:
    """What a reader must know of every number at a scale; nothing at full scale."""
    return "" if scale == FULL else f"scale={scale}: no result"


def explanation_of(scale: str) -> str:
    """The same in a sentence."""
    return f"Made at scale={scale}, to see that everything runs: no number, image or order here is a result."
