"""A page in one file: template, styles, scripts and images together, which asks for nothing and lets nothing else act.

The content security policy forbids every connection and every script but the page's own (by its hash), so a name
that slipped through the escaping still could not act.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from genuq.analysis.score_entries import IntervalRow, Number
from genuq.report.drawing import values, vocabulary
from genuq.report.drawing.marks import mark
from genuq.report.drawing.style import PALETTE


def render(template: str, context: Mapping[str, Any], scripts: Iterable[str], styles: Iterable[str]) -> str:
    """The whole file.

    Args:
        template: extends `base.html.j2`, which says what the context must hold for every page.
        scripts: joined in this order.
        styles: joined in this order.
    """
    script, style = joined(scripts), joined(styles)
    page = {
        "mark": mark(),
        "palette": PALETTE,
        "style": Markup(style),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    return environment().get_template(template).render({**context, **page})


def joined(names: Iterable[str]) -> str:
    folder = resources.files("genuq.report").joinpath("templates")
    return "\n".join(folder.joinpath(*name.split("/")).read_text(encoding="utf-8").strip() for name in names)


@functools.cache
def environment() -> jinja2.Environment:
    """Compiles a template once; escapes everything; knows how numbers are written, and what the macros need."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("genuq.report", "templates"),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,  # a section that a run does not have reads as missing, not as a crash
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":")}
    for name in ("decimals", "significant", "percent", "duration", "words", "spoken", "titled"):
        made.filters[name] = functools.partial(_defined, getattr(values, name))
    made.globals |= {
        "interval": values.interval,
        "present": values.present,
        "whisker": whisker,
        "by_kind": by_kind,
        "STATISTICS": vocabulary.STATISTICS,
        "TARGETS": vocabulary.TARGETS,
        "KINDS": vocabulary.KIND_TITLES,
    }
    return made


def _defined(write: Any, value: Any, *args: Any) -> str:
    return write(None if isinstance(value, jinja2.Undefined) else value, *args)


def headline(sentence: str | None) -> tuple[str, str]:
    """A long sentence in two: the answer, up to its colon, and the grounds for it in smaller type."""
    text = values.words(sentence)
    opening, colon, grounds = text.partition(": ")
    return (opening + ":", grounds) if colon and len(text) > 120 else (text, "")


def by_kind(rows: Iterable[Any]) -> list[tuple[str, list[Any]]]:
    """Rows or series together with those of their kind, in the order in which the kinds first appear."""
    groups: dict[str, list[Any]] = {}
    for row in rows:
        groups.setdefault(row.kind, []).append(row)
    return list(groups.items())


def whisker(
    measured: IntervalRow, column: Sequence[IntervalRow], scale: tuple[float, float]
) -> dict[str, float] | None:
    """Where to draw a value and its interval on a scale from 0 to 100, or None when the value is missing.

    The scale spans `scale`, whose first end means "nothing", widened to hold every entry of the column, so that they
    can be compared.
    """
    if not values.present(measured.value):
        return None
    known = [number for entry in column for number in _numbers(entry) if values.present(number)]
    low, high = min([*scale, *known]), max([*scale, *known])

    def place(value: float) -> float:
        return round(100 * (value - low) / ((high - low) or 1), 2)

    middle, *ends = (place(number if values.present(number) else measured.value) for number in _numbers(measured))
    return {"middle": middle, "low": ends[0], "high": ends[1], "zero": place(scale[0])}


def _numbers(measured: IntervalRow) -> tuple[Number, Number, Number]:
    return measured.value, measured.low, measured.high


def short(value: Any, digits: int = 8) -> Any:
    """A number with as many significant digits as a page can use: more would only make it larger."""
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value
