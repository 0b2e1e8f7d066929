"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table_lines(headings: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int | None = None) -> list[str]:
    """The lines of a table; a bar or a line break within a cell stays within it.

    Args:
        text_columns: how many columns, from the left, hold words; the others hold numbers, which stand to the right.
            None: all hold words.
    """
    if text_columns is None:
        rule = "|---" * len(headings) + "|"
    else:
        rule = _line(["---"] * text_columns + ["---:"] * (len(headings) - text_columns))
    return [_line(headings), rule, *map(_line, rows)]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_escaped, cells))} |"


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
