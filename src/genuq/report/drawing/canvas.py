"""Where panels and their labels go: inch-exact axes, and labels at the ends of lines that never overlap."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genuq.report.drawing.style import colour, styled

Draw = Callable[[Axes], None]
CHARACTERS = 25  # of the name of a line or a row that there is room for


@dataclass(frozen=True)
class Room:
    """Size of a panel's axes and of the margins around them, in inches."""

    width: float = 2.45
    height: float = 2.55
    left: float = 0.55
    right: float = 2.0
    top: float = 0.34
    bottom: float = 0.5

    @property
    def outer(self) -> tuple[float, float]:
        return self.left + self.width + self.right, self.top + self.height + self.bottom


@styled
def figure_of(draws: Sequence[Draw], room: Room, caption: str = "", columns: int = 3) -> Figure:
    """A figure with one panel for each function of `draws`, row by row, and a caption below."""
    columns = min(columns, len(draws))
    rows = -(-len(draws) // columns)
    lines = textwrap.wrap(caption, int(columns * room.outer[0] * 14.5)) if caption else []
    foot = 0.2 * len(lines) + 0.14 if lines else 0.0
    width, height = columns * room.outer[0], rows * room.outer[1] + foot
    figure = Figure(figsize=(width, height))
    for index, draw in enumerate(draws):
        row, column = divmod(index, columns)
        left = column * room.outer[0] + room.left
        bottom = height - (row + 1) * room.outer[1] + room.bottom
        draw(figure.add_axes((left / width, bottom / height, room.width / width, room.height / height)))
    if lines:
        x, y = 0.14 / width, 0.12 / height
        figure.text(x, y, "\n".join(lines), size=8, color=colour("plot-muted"), va="bottom")
    return figure


def spread(positions: Sequence[float], gap: float) -> np.ndarray:
    """Move positions apart until neighbours are `gap` apart, keeping their order and moving as little as possible.

    The least-squares solution: subtract the required offsets, make the rest monotone by pooling adjacent
    violators (isotonic regression), and add the offsets again.
    """
    wanted = np.asarray(positions, float)
    order = np.argsort(wanted, kind="stable")
    offsets = gap * np.arange(len(wanted))
    blocks: list[tuple[float, int]] = []
    for value in wanted[order] - offsets:
        total, count = float(value), 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / count:
            before, size = blocks.pop()
            total, count = total + before, count + size
        blocks.append((total, count))
    pooled = np.concatenate([np.full(count, total / count) for total, count in blocks]) if blocks else offsets
    placed = np.empty(len(wanted))
    placed[order] = pooled + offsets
    return placed


@dataclass(frozen=True)
class EndLabel:
    """A label beside the last point of a line; `group` is the id that ties it to its line."""

    x: float
    y: float
    text: str
    colour: str
    bold: bool
    group: str | None


def label_ends(axes: Axes, labels: Sequence[EndLabel], x: float, characters: int = CHARACTERS) -> None:
    """Write each label right of the axes at the height of its line, moved just enough to be legible.

    Args:
        x: position of the text in points right of the axes.
        characters: of a label that there is room for.
    """
    _, height = _points_of(axes)
    low, high = axes.get_ylim()
    wanted = [(label.y - low) / (high - low) * height for label in labels]
    placed = _inside(spread(wanted, 11.0), height)
    for label, start, end in zip(labels, wanted, placed):
        _leader(axes, label, (start / height, end / height), x)
        axes.annotate(
            fitted(label.text, characters),
            (1, end / height),
            xytext=(x, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            size=8,
            color=label.colour,
            weight="bold" if label.bold else "normal",
            annotation_clip=False,
            gid=label.group,
        )


def _points_of(axes: Axes) -> tuple[float, float]:
    """Width and height of the axes in points."""
    box = axes.get_window_extent()
    return 72 * box.width / axes.figure.dpi, 72 * box.height / axes.figure.dpi


def _inside(placed: np.ndarray, height: float) -> np.ndarray:
    """Shift labels that stand above or below the axes back, as far as all of them fit."""
    if not len(placed):
        return placed
    overshoot = max(0.0, placed.max() - height) - max(0.0, -placed.min())
    return placed - overshoot


def fitted(text: str, characters: int = CHARACTERS) -> str:
    """As much of a name as so many characters hold."""
    return text if len(text) <= characters else text[: characters - 1].rstrip() + "…"


def _leader(axes: Axes, label: EndLabel, heights: tuple[float, float], x: float) -> None:
    """A hairline from the end of the line to its label."""
    width, _ = _points_of(axes)
    start = axes.transLimits.transform(axes.transScale.transform((label.x, label.y)))[0]
    axes.plot(
        [start + 2 / width, 1 + (x - 2) / width],
        list(heights),
        transform=axes.transAxes,
        clip_on=False,
        color=label.colour,
        linewidth=0.6,
        alpha=0.55,
        gid=label.group,
    )
