"""Tables: a row per sample as CSV; the few lines with which a run ends, for the terminal and as Markdown."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from genuq.analysis.evaluation_entries import SummaryRow
from genuq.analysis.results import Results
from genuq.analysis.score_entries import IntervalRow
from genuq.files import plain
from genuq.report.drawing.markdown import code, prose, table_lines
from genuq.report.drawing.spreadsheet import csv_table
from genuq.report.drawing.values import DASH, decimals, interval, present
from genuq.report.run.application import outcome_markdown
from genuq.report.run.plots import provenance
from genuq.store.scales import FULL, at_scale, warning_of

COLUMNS = ("spearman", "auroc", "fid_gain")
VERDICTS: dict[bool | None, tuple[str, str]] = {
    True: ("Finds the bad samples", "green"),
    False: ("Does not find the bad samples", "red"),
    None: ("Not established", "yellow"),
}


def samples_csv(results: Results) -> str:
    """One line per sample under the names of its columns, at another than full scale with that in each; an empty cell
    where a value is missing.
    """
    columns, rows = list(results.samples.columns), plain(results.samples.rows)
    if results.scale != FULL:
        columns, rows = ["scale", *columns], [[results.scale, *row] for row in rows]
    return csv_table([columns, *rows])


def verdict(results: Results) -> tuple[str, str]:
    """Words and colour for whether the score finds the bad samples; no green where a control does as well, and no
    verdict but at full scale.
    """
    summary = results.summary
    if results.scale != FULL:
        return warning_of(results.scale), "yellow"
    if summary.finds_bad and summary.beats_controls is False:
        return "Finds bad samples, but so does a control", "yellow"
    return VERDICTS[summary.finds_bad]


def terminal_table(results: Results) -> RenderableType:
    """The small table and the sentence that end a run, ready for `rich.print`."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("Score")
    for heading in ("Spearman", "AUROC", "FID gain"):
        table.add_column(heading, justify="right", no_wrap=True)
    kind = "score"
    for index, row in enumerate(results.summary.table):
        if row.kind != kind:
            kind = row.kind
            table.add_row(Text(f"— {kind}s", style="dim"))
        cells = [_cell(row.measured(column)) for column in COLUMNS]
        table.add_row(Text(row.label), *cells, style="bold" if index == 0 else "")
    _, colour = verdict(results)
    return Group(Padding(table, (1, 0)), Text(marked_sentence(results), style=f"bold {colour}"))


def marked_sentence(results: Results) -> str:
    """What the run has found, and whether that is no result."""
    sentence = results.summary.sentence or DASH
    return sentence if results.scale == FULL else f"{warning_of(results.scale)}. {sentence}"


def _cell(measured: IntervalRow) -> Text:
    """`0.42 [0.31,0.52]`, the interval dim; three of them and a label fit into 80 columns."""
    known = interval(measured.low, measured.high) if present(measured.value) else ""
    return Text.assemble(decimals(measured.value), (f" {known}".rstrip().replace(", ", ","), "not bold dim"))


def _cells(row: SummaryRow) -> list[str]:
    return [_cell(row.measured(column)).plain for column in COLUMNS]


def _adds(row: SummaryRow) -> str:
    """What the score adds to the AUROC of the controls: small, and so with a digit more."""
    measured = row.measured("adds")
    return f"{decimals(measured.value, 3)} {interval(measured.low, measured.high, 3)}".strip()


def summary_markdown(results: Results) -> str:
    """The sentence and the small table as Markdown, for a study's folder."""
    summary = results.summary
    target = f" with {summary.spearman_target}" if summary.spearman_target else ""
    rows = [[at_scale(row.label, results.scale), row.kind, *_cells(row), _adds(row)] for row in summary.table]
    table = table_lines(["score", "kind", f"Spearman{target}", "AUROC", "FID gain", "adds to controls"], rows)
    foot = f"95 % intervals in brackets. {prose(provenance(results))}."
    opening = [code(results.command or DASH), "", prose(marked_sentence(results)), ""]
    return "\n".join([*opening, *table, "", foot, "", *outcome_markdown(results.application)])
