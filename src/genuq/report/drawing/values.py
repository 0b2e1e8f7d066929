"""Numbers as a reader sees them: a dash for what is missing, and a true minus sign."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

import numpy as np

DASH = "–"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def present(value: Any) -> TypeGuard[float]:
    """Whether `value` is a finite number (a truth value is none)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def decimals(value: Any, places: int = 2) -> str:
    """`-0.417` as `−0.42`; a dash for a missing number, never `−0.00`."""
    if not present(value):
        return DASH
    text = f"{value:,.{places}f}"
    if text.startswith("-") and not text.strip("-0.,"):
        text = text[1:]
    return text.replace("-", "−")


def significant(value: Any, digits: int = 3) -> str:
    """`digits` significant digits: `1,024`, `0.00123`, `3.1×10⁻⁷`; whole numbers of any size are kept whole."""
    if not present(value):
        return DASH
    if float(value).is_integer() and abs(value) < 1e15:
        return decimals(value, 0)
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < 15:
        return decimals(value, max(0, digits - 1 - exponent))
    mantissa = decimals(value / 10.0**exponent, digits - 1)
    return f"{mantissa}×10{str(exponent).translate(SUPERSCRIPTS)}"


def power_of_ten(value: float) -> str:
    """A tick of a logarithmic axis: `0.01`, `1`, `1,000`, and `10⁻⁷` where the zeros would be many."""
    exponent = math.floor(math.log10(value) + 0.5)
    return f"{value:,g}" if abs(exponent) <= 3 else f"10{str(exponent).translate(SUPERSCRIPTS)}"


def percent(value: Any, places: int = 1) -> str:
    return f"{decimals(100 * value, places)} %" if present(value) else DASH


def duration(seconds: Any) -> str:
    """`0.25 s`, `42 s`, `3 min 5 s`, `2 h 4 min`."""
    if not present(seconds):
        return DASH
    if seconds < 60:
        return f"{significant(seconds, 2)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def words(value: Any) -> str:
    """Any value as text, with a dash for what is missing and `yes` or `no` for a truth value."""
    if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    return significant(value) if isinstance(value, (int, float)) else str(value)


def spoken(value: Any) -> str:
    """A name of the configuration as words of a sentence: `flow_matching` as `flow matching`."""
    return words(value).replace("_", " ")


def titled(value: Any) -> str:
    """`spoken`, with a capital for its first letter and the others as they are."""
    text = spoken(value)
    return text[:1].upper() + text[1:]


def interval(low: Any, high: Any, places: int = 2) -> str:
    """`[0.31, 0.52]`, or nothing when either end is missing."""
    return f"[{decimals(low, places)}, {decimals(high, places)}]" if present(low) and present(high) else ""


def evenly(count: int, most: int) -> list[int]:
    """At most `most` places of `count`, with even gaps from the first to the last."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()
