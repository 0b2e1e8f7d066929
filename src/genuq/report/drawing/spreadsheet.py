"""Tables as CSV that programs read as they are, and that spreadsheet programs do not calculate with."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a formula begins in one spreadsheet program or another


def csv_table(rows: Iterable[Sequence[Any]]) -> str:
    """Rows of values, the headings among them, as lines; None is an empty cell."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([*map(cell, row)] for row in rows)
    return buffer.getvalue()


def csv_records(columns: Sequence[str], records: Iterable[Mapping[str, Any]]) -> str:
    """Records under the names of their columns; what one lacks is an empty cell."""
    return csv_table([columns, *([record.get(name) for name in columns] for record in records)])


def cell(value: Any) -> Any:
    """A value as a cell; text that a spreadsheet would take for a formula gets an apostrophe in front.

    Source: OWASP, CSV Injection.
    """
    if not isinstance(value, str) or not value.startswith(FORMULA) or _is_number(value):
        return value
    return f"'{value}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
