"""Tables and text as Markdown: a name from outside prints as that name, whatever signs it has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# A tag, a link, an entity, and what escapes them. Both patterns leave `[0.3, 0.5]` and `batch_size` as they are.
ACTIVE = r"[<\\]|\](?=[(\[:])|&(?=#?\w+;)"
EMPHASIS = r"[*`]|(?<!\w)_|_(?!\w)"


def table_lines(headings: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int | None = None) -> list[str]:
    """The lines of a table. A cell may be bold or code; nothing else in it acts, and no bar or line break ends it.

    Args:
        text_columns: how many columns, from the left, hold words; the others hold numbers, which stand to the right.
            None: all hold words.
    """
    if text_columns is None:
        rule = "|---" * len(headings) + "|"
    else:
        rule = _line(["---"] * text_columns + ["---:"] * (len(headings) - text_columns))
    return [_line(headings), rule, *map(_line, rows)]


def prose(text: str) -> str:
    """Any text as Markdown that prints as that text, on one line."""
    return _escaped(text, f"{ACTIVE}|{EMPHASIS}|^(?:[#>+-]|\\d+[.)])(?=\\s)")


def code(text: str) -> str:
    """Any text as code within a line."""
    flat = " ".join(text.split())
    fence = "`" * (1 + _longest_run(flat))
    return f"{fence}{flat}{fence}" if len(fence) == 1 else f"{fence} {flat} {fence}"


def code_block(lines: Sequence[str]) -> str:
    """Lines of code, set apart."""
    fence = "`" * max(3, 1 + _longest_run("\n".join(lines)))
    return "\n".join([fence, *lines, fence])


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(_escaped(cell, f'{ACTIVE}|[|]') for cell in cells)} |"


def _escaped(text: str, pattern: str) -> str:
    return re.sub(pattern, lambda part: f"{part[0][:-1]}\\{part[0][-1]}", " ".join(text.split()))
