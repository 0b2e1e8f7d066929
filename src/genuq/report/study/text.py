"""A study's table as Markdown for people and as CSV for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from genuq.report.drawing.markdown import code, code_block, prose, table_lines
from genuq.report.drawing.spreadsheet import csv_records
from genuq.report.drawing.values import spoken
from genuq.report.drawing.vocabulary import METRICS
from genuq.report.study.published import Published
from genuq.report.study.table import Cell, StudyTable
from genuq.report.study.words import (
    MISSING,
    cell_text,
    column_words,
    heading,
    key_words,
    legend,
    missing_words,
    places,
    row_words,
    title_of,
)
from genuq.store.scales import FULL, at_scale

LISTED = 12  # missing runs whose commands are in the page itself


def table_markdown(table: StudyTable) -> str:
    """The whole page: question, command, table, how to read it, what is missing, and what others have published."""
    parts = [
        f"# {prose(title_of(table))}",
        prose(table.question),
        "\n\n".join(map(code, table.commands)),
        "\n".join(table_lines(_headings(table), _body(table), len(table.keys))),
        prose(" ".join(legend(table))),
        *map(prose, table.notes),
        missing_markdown(table),
        published_markdown(table.published),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _headings(table: StudyTable) -> list[str]:
    columns = [column_words(table, column) for column in table.columns]
    measured = [
        f"{heading(measure)} · {column}" if column else heading(measure)
        for measure in table.measures
        for column in columns
    ]
    return [*map(key_words, table.keys), *measured]


def _body(table: StudyTable) -> list[list[str]]:
    digits = {measure.name: places(table, measure) for measure in table.measures}
    return [
        [
            *row_words(table, row),
            *(
                cell_markdown(table.cell(row, column, measure), digits[measure.name], table.scale)
                for measure in table.measures
                for column in table.columns
            ),
        ]
        for row in table.rows
    ]


def cell_markdown(cell: Cell, digits: int, scale: str = FULL) -> str:
    """`**0.612 ± 0.021** (3)`, `0.612 [0.55, 0.67] (1)`, `0.612 (1) smoke`, or a dash."""
    text = cell_text(cell, digits, scale)
    if text is None:
        return MISSING if cell.expected else ""
    value = f"{text.value} ± {text.error}" if text.error else text.value
    parts = [f"**{value}**" if cell.mark else value, text.span, f"({text.count})", text.mark]
    return " ".join(part for part in parts if part)


def missing_markdown(table: StudyTable) -> str:
    """How many runs are missing, and how to make them."""
    if not table.missing:
        return ""
    more_than = len(table.missing) - LISTED
    shown = code_block(table.missing[:LISTED])
    more = f"\n\nand {more_than} more, in missing.txt." if more_than > 0 else ""
    return f"**{missing_words(table)}:**\n\n{shown}{more}"


def published_markdown(entries: Sequence[Published]) -> str:
    """Each published result as a table of its own, its source and status below."""
    if not entries:
        return ""
    return "\n\n".join(["## Published numbers, for comparison", *map(_published, entries)])


def _published(entry: Published) -> str:
    columns, measures = entry.columns, entry.measures
    rows = [[str(row.get(name, MISSING)) for name in columns] for row in entry.rows]
    lines = table_lines([*map(column_label, columns)], rows, len(columns) - len(measures))
    return "\n".join([*lines, "", prose(provenance(entry))])


def column_label(name: str) -> str:
    """A published column as a reader sees it."""
    return METRICS[name].label if name in METRICS else spoken(name)


def provenance(entry: Published) -> str:
    """Unit, protocol, source and status in one line."""
    protocol = f" ({entry.protocol})" if entry.protocol else ""
    return f"{entry.unit[:1].upper()}{entry.unit[1:]}{protocol}. Source: {entry.source}. Status: {entry.how_known}."


def table_csv(table: StudyTable) -> str:
    """One line a cell and measure, ours and then the published ones; numbers in full, nothing where there is none.

    `interval` says what the ends are of: `seeds` (Student's, over seeds), `run` (the single run's own) or `none`.
    """
    column = table.column or "column"
    keys = list(table.keys)
    fields = [
        *("origin", *keys, column, "measure", "n", "expected", "mean", "standard_error", "low", "high", "interval"),
        *("bold", "runs", "of", "source", "status", "scale"),
    ]
    records: list[dict[str, object]] = []
    for row in table.rows:
        for place in table.columns:
            for measure in table.measures:
                setting = dict(zip(keys, row)) | {column: place, "measure": measure.name}
                numbers = _cell_fields(table.cell(row, place, measure))
                records.append({"origin": at_scale("ours", table.scale)} | setting | numbers | {"scale": table.scale})
    for entry in table.published:
        records += _published_fields(entry)
    return csv_records(fields, records)


def _cell_fields(cell: Cell) -> dict[str, object]:
    found = cell.estimate
    counts: dict[str, object] = {"n": found.n if found else 0, "expected": cell.expected, "runs": " ".join(cell.runs)}
    if found is None:
        return counts
    numbers = {"mean": found.mean, "standard_error": found.error, "low": found.low, "high": found.high}
    return counts | numbers | {"interval": found.source, "bold": cell.mark}


def _published_fields(entry: Published) -> Iterable[dict[str, object]]:
    for row in entry.rows:
        words = "; ".join(f"{name}: {value}" for name, value in row.items() if name not in entry.measures)
        for name in entry.measures:
            if name in row:
                yield {
                    "origin": f"published: {entry.name}",
                    "measure": name,
                    "mean": row[name],
                    "of": words,
                    "source": entry.source,
                    "status": entry.how_known,
                }
