"""One look for every plot: palette, type, and the SVG that follows the page's light or dark mode.

A plot is drawn once, in the light palette. For the page, each colour of the palette becomes the CSS variable of its
name, whose dark value the style sheet knows; on disk the colours stay as they are.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar

import matplotlib
from matplotlib.figure import Figure

from genuq.report.drawing.marks import stamped

# Light and dark value of each colour. The series are Okabe and Ito's colour-blind-safe hues, darkened or lightened
# until text in them reaches a contrast of 4.5 to 1 on the page's surface.
PALETTE = {
    "plot-ink": ("#1d2127", "#e6e4df"),
    "plot-muted": ("#5a616b", "#a4abb5"),
    "plot-line": ("#dedbd4", "#343b45"),
    "plot-band": ("#9aa1aa", "#737c88"),
    "series-1": ("#0067a5", "#63b3f0"),
    "series-2": ("#b24a00", "#f2925a"),
    "series-3": ("#007556", "#45c79d"),
    "series-4": ("#9a3f78", "#e596c8"),
    "series-5": ("#5b4bc4", "#a79bf5"),
    "series-6": ("#a8323a", "#ff8f8a"),
    "baseline": ("#806000", "#dfb646"),
    "control": ("#656c76", "#969eaa"),
    "oracle": ("#23272e", "#f4f2ee"),
}
SERIES = [name for name in PALETTE if name.startswith("series-")]
DASHES: list[Any] = ["solid", (0, (5, 1.6)), (0, (1, 1.3)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1))]
MARKERS = ["o", "s", "D", "^", "v", "P"]

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 9,
    "axes.titley": 1.0,  # no tick labels on top; left open, matplotlib measures every label to find out
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.unicode_minus": True,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "grid.linewidth": 0.7,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 5,
    "ytick.major.pad": 5,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",  # text stays text: selectable, and set in the page's own type
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
    "svg.hashsalt": "genuq",  # the same plot is the same file
    **{key: PALETTE["plot-line"][0] for key in ("axes.edgecolor", "grid.color")},
    **{key: PALETTE["plot-ink"][0] for key in ("text.color", "axes.titlecolor")},
    **{key: PALETTE["plot-muted"][0] for key in ("axes.labelcolor", "xtick.color", "ytick.color")},
}

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def colour(name: str) -> str:
    """The light value of a palette colour, which is how plots are drawn."""
    return PALETTE[name][0]


def styled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Run a drawing function under the report's style without leaving a trace in matplotlib's settings."""

    @functools.wraps(function)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with matplotlib.rc_context(RC):
            return function(*args, **kwargs)

    return wrapped


@dataclass(frozen=True)
class Series:
    """How one score is drawn everywhere: its place in the results, colour, dash and marker."""

    index: int
    name: str
    label: str
    kind: str
    variable: str
    dash: Any
    marker: str
    main: bool

    @property
    def colour(self) -> str:
        return colour(self.variable)

    @property
    def dasharray(self) -> str:
        return dasharray(self.dash)

    @property
    def short(self) -> str:
        """The label for the end of a line: of `Generative uncertainty: swag`, which posterior it is."""
        return self.label.partition(": ")[2] or self.label

    @property
    def width(self) -> float:
        return 2.4 if self.main else 1.4 if self.kind in ("score", "baseline") else 1.15


def dasharray(dash: Any) -> str:
    """The dash of a line 2 pixels wide, as SVG has it."""
    return "none" if dash == "solid" else " ".join(f"{2 * length:g}" for length in dash[1])


class Scored(Protocol):
    """What a line must know of its score."""

    @property
    def name(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def kind(self) -> str: ...


def series_of(scores: Sequence[Scored]) -> list[Series]:
    """One Series per score.

    A hue of its own for each score; all baselines in one hue, controls in grey, oracles in ink, told apart by dashes.
    """
    counts = dict.fromkeys(("score", "baseline", "control", "oracle"), 0)
    found = []
    for index, score in enumerate(scores):
        family = score.kind if score.kind in counts else "control"
        nth = counts[family]
        counts[family] += 1
        variable = SERIES[nth % len(SERIES)] if family == "score" else family
        dash = DASHES[nth // len(SERIES)] if family == "score" else DASHES[(nth + 1) % len(DASHES)]
        marker = MARKERS[nth % len(MARKERS)]
        found.append(Series(index, score.name, score.label, score.kind, variable, dash, marker, index == 0))
    return found


@styled
def png(figure: Figure) -> bytes:
    """The figure at 200 dpi on white."""
    buffer = io.BytesIO()
    stamped(figure).savefig(buffer, format="png", dpi=200, facecolor="white")
    return buffer.getvalue()


@styled
def svg(figure: Figure, background: str = "white") -> str:
    buffer = io.StringIO()
    stamped(figure).savefig(buffer, format="svg", facecolor=background, metadata={"Date": None})
    return buffer.getvalue()


@styled
def pdf(figure: Figure) -> bytes:
    """The figure on white, the same bytes at any time; text stays text."""
    buffer = io.BytesIO()
    stamped(figure).savefig(buffer, format="pdf", facecolor="white", metadata={"CreationDate": None})
    return buffer.getvalue()


def inline_svg(figure: Figure, prefix: str) -> str:
    """The figure as an SVG element for the page.

    Ids get `prefix` so that several plots share a document; groups named `series-<index>` lose their id and carry
    `data-series` instead, so that the page can bring one score forward in every plot.
    """
    text = svg(figure, background="none")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="series-(\d+)"', r' data-series="\1"', text)
    text = re.sub(r' id="(?:figure|axes|patch|text|line2d|xtick|ytick|matplotlib)[^"]*"', "", text)
    text = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    text = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", text)
    text = re.sub(
        r'(<svg [^>]*?)width="[^"]*" height="[^"]*"', r'\1aria-hidden="true" focusable="false"', text, count=1
    )
    text = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)
    for name, (light, _) in PALETTE.items():
        text = text.replace(light, f"var(--{name})")
    return re.sub(r"\n\s*", "\n", text)
