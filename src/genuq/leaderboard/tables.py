"""A leaderboard as Markdown and LaTeX for people, and as CSV for programs."""

from __future__ import annotations

from collections.abc import Sequence

from genuq.analysis import Interval, Undefined
from genuq.leaderboard.board import Board
from genuq.leaderboard.rows import Gain, Over, Row, Statistics
from genuq.leaderboard.sheets import (
    Cell,
    Setting,
    Sheet,
    answer_of,
    cell_text,
    headline_of,
    labels_of,
    notes_of,
    settings_of,
)
from genuq.report.drawing.markdown import code_block, prose, table_lines
from genuq.report.drawing.spreadsheet import csv_records
from genuq.report.drawing.values import decimals, duration, significant
from genuq.report.study.latex import MISSING, environment, escaped, latex_line, math_number

COLUMNS = (
    *("data", "sampler", "seed", "fault", "score", "label", "kind", "needs_posterior", "seeds", "bad", "good"),
    *("auroc", "auroc_low", "auroc_high", "evaluations", "seconds", "auroc_per_evaluation"),
    *("gain", "gain_low", "gain_high", "gain_p", "gain_q", "gain_controls"),
    *("over_best_control", "over_low", "over_high", "over_p", "best_control", "few_bad", "why_not"),
)


def markdown(found: Statistics, board: Board, missing: Sequence[str]) -> str:
    """The whole page: question, answer, a table for each measure of each data set, what is missing.

    Args:
        missing: commands that make what is not there.
    """
    parts = [
        f"# {prose(board.title)}",
        prose(board.question),
        f"**{prose(headline_of(found))}**",
        "\n".join(f"- {prose(answer_of(one, board, labels_of(found)))}" for one in found.declared),
    ]
    for setting in settings_of(found, board):
        parts += [f"## {prose(setting.title)}", *(_sheet_markdown(sheet) for sheet in setting.sheets)]
    parts += [*map(prose, notes_of(found, board)), missing_markdown(missing)]
    return "\n\n".join(part for part in parts if part) + "\n"


def missing_markdown(missing: Sequence[str]) -> str:
    """What is not there, and the commands that make it."""
    if not missing:
        return ""
    return f"**Some of the samples are missing. To make them:**\n\n{code_block(missing)}"


def _sheet_markdown(sheet: Sheet) -> str:
    counts = [f"{head.label} ({head.bad:,} bad of {head.bad + head.good:,})" for head in sheet.heads]
    lines = [
        [line.label, *costs(line.evaluations, line.seconds), *(_marked(cell, sheet) for cell in line.cells)]
        for line in sheet.lines
    ]
    table = table_lines(["Score", "Evaluations", "Seconds", *counts], lines, 1)
    return "\n".join([f"### {prose(sheet.measure.title)}", "", prose(sheet.measure.about), "", *table])


def _marked(cell: Cell, sheet: Sheet) -> str:
    text = cell_text(cell, sheet.measure.places)
    note = f" ({cell.note})" if cell.found is not None and cell.note else ""
    return f"**{text}**{note}" if cell.bold else f"{text}{note}"


def costs(evaluations: float, seconds: float | None) -> tuple[str, str]:
    """What a sample's score costs beside sampling, as a reader sees it."""
    return significant(round(evaluations, 2)), duration(seconds)


def latex(found: Statistics, board: Board) -> str:
    """A table environment for each measure of each data set; they need `\\usepackage{booktabs}`."""
    head = [f"% genuq leaderboard {board.name}"]
    return "\n".join(
        [*head, *(_sheet_latex(one, sheet, board) for one in settings_of(found, board) for sheet in one.sheets)]
    )


def _sheet_latex(setting: Setting, sheet: Sheet, board: Board) -> str:
    heads = [escaped(f"{head.label} ({head.bad:,})") for head in sheet.heads]
    lines = [latex_line(["Score", "Evaluations", *heads]), "\\midrule"]
    for line in sheet.lines:
        cells = [_cell_latex(cell, sheet.measure.places) for cell in line.cells]
        lines.append(
            latex_line([escaped(line.label), f"${math_number(significant(round(line.evaluations, 2)))}$", *cells])
        )
    notes = f"{sheet.measure.about} In brackets after each kind of fault: its bad samples."
    label = f"leaderboard-{board.name}-{setting.name}-{sheet.measure.name}"
    return environment(f"{setting.title}: {sheet.measure.title}", notes, label, lines, "l" + "r" * (len(heads) + 1))


def _cell_latex(cell: Cell, places: int) -> str:
    if cell.found is None:
        return MISSING
    value = math_number(decimals(cell.found.value, places))
    ends = ", ".join(math_number(decimals(end, places)) for end in (cell.found.low, cell.found.high))
    shown = f"{{\\boldmath${value}$}}" if cell.bold else f"${value}$"
    return f"{shown} {{\\scriptsize$[{ends}]$}}"


def csv(found: Statistics) -> str:
    """One line a row, those over training seeds first; numbers in full, nothing where there is none."""
    return csv_records(COLUMNS, map(_fields, (*found.rows, *found.by_seed)))


def _fields(row: Row) -> dict[str, object]:
    names = ("data", "sampler", "seed", "fault", "score", "label", "kind", "needs_posterior", "seeds", "bad", "good")
    fields: dict[str, object] = {name: getattr(row, name) for name in (*names, "evaluations", "seconds")}
    fields |= _ends("auroc", "auroc", row.auroc)
    fields["auroc_per_evaluation"] = row.per_evaluation.value if row.per_evaluation else None
    if isinstance(row.gain, Gain):
        fields |= _ends("gain", "gain", row.gain.interval)
        fields |= {"gain_p": row.gain.p, "gain_q": row.gain.q, "gain_controls": " ".join(row.gain.known)}
    if isinstance(row.over, Over):
        fields |= _ends("over_best_control", "over", row.over.interval)
        fields |= {"over_p": row.over.p, "best_control": " ".join(row.over.chosen)}
    reasons = [one.reason for one in (row.auroc, row.gain, row.over) if isinstance(one, Undefined)]
    return fields | {"few_bad": row.few, "why_not": "; ".join(dict.fromkeys(reasons))}


def _ends(name: str, prefix: str, found: Interval | Undefined) -> dict[str, object]:
    if isinstance(found, Undefined):
        return {}
    return {name: found.value, f"{prefix}_low": found.low, f"{prefix}_high": found.high}
