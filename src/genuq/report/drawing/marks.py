"""What is written across all that is made in a `with marking(...)`: that no number of it is a result."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_text: ContextVar[str] = ContextVar("text", default="")
GROUP = "mark"  # id of the mark in a figure
STRIP, CHARACTER = 14, 7  # pixels above a sheet of images, and of a character in it


@contextlib.contextmanager
def marking(text: str) -> Iterator[None]:
    """All figures, sheets of images and pages that are made inside bear the text; none where it is empty."""
    token = _text.set(text)
    try:
        yield
    finally:
        _text.reset(token)


def mark() -> str:
    """The text that marks what is being made; empty where nothing does."""
    return _text.get()


def titled(title: str) -> str:
    """A title with the mark before it."""
    return f"{mark()} · {title}" if mark() else title


def stamped(figure: Figure) -> Figure:
    """The figure with the mark across it, once."""
    if mark() and not any(text.get_gid() == GROUP for text in figure.texts):
        width, height = figure.get_size_inches()
        size = min(72 * 1.4 * width / len(mark()), 72 * height / 3)
        figure.text(
            0.5, 0.5, mark(), gid=GROUP, size=size, weight="bold", color="#b24a00", alpha=0.4, ha="center", va="center"
        )
    return figure


def under_strip(sheet: Image.Image) -> Image.Image:
    """A sheet of images below a strip with the mark."""
    if not mark():
        return sheet
    width = max(sheet.width, CHARACTER * len(mark()))
    whole = Image.new(sheet.mode, (width, sheet.height + STRIP), "white")
    whole.paste(sheet, (0, STRIP))
    ImageDraw.Draw(whole).text((1, 1), mark(), fill="black")
    return whole
