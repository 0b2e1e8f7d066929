"""What a person reads on the terminal: errors, sizes, durations."""

from __future__ import annotations

import os

from rich.console import Console
from rich.text import Text


def rounded_duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.{0 if seconds >= 10 else 1}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def in_units(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def complain(error: Exception) -> None:
    """The error as a person reads it; the traceback only where GENUQ_TRACEBACK is set."""
    console = Console(stderr=True)
    if os.environ.get("GENUQ_TRACEBACK"):
        console.print_exception()
    console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
