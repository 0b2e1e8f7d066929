"""Tables: a row per sample as CSV; the few lines with which a run ends, for the terminal and as Markdown."""

from __future__ import annotations

import csv
import io
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from genuq.files import plain
from genuq.report.drawing.values import decimals, interval, present
from genuq.report.run.application import outcome_markdown
from genuq.report.run.plots import provenance

VERDICTS: dict[bool | None, tuple[str, str]] = {
    True: ("Finds the bad samples", "green"),
    False: ("Does not find the bad samples", "red"),
    None: ("Not established", "yellow"),
}


def samples_csv(results: dict) -> str:
    """One line per sample under the names of its columns; an empty cell where a value is missing."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(results["samples"]["columns"])
    writer.writerows(plain(results["samples"]["rows"]))
    return buffer.getvalue()


def verdict(results: dict) -> tuple[str, str]:
    """Words and colour for whether the score finds the bad samples; no green where a control does as well."""
    finds = results["summary"].get("finds_bad")
    if finds is True and results["summary"].get("beats_controls") is False:
        return "Finds bad samples, but so does a control", "yellow"
    return VERDICTS[finds if isinstance(finds, bool) else None]


def terminal_table(results: dict) -> RenderableType:
    """The small table and the sentence that end a run, ready for `rich.print`."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("Score")
    for heading in ("Spearman", "AUROC", "FID gain"):
        table.add_column(heading, justify="right", no_wrap=True)
    kind = "score"
    for index, row in enumerate(results["summary"]["table"]):
        if row["kind"] != kind:
            kind = row["kind"]
            table.add_row(Text(f"— {kind}s", style="dim"))
        cells = [_cell(row, column) for column in ("spearman", "auroc", "fid_gain")]
        table.add_row(Text(row["label"]), *cells, style="bold" if index == 0 else "")
    _, colour = verdict(results)
    return Group(Padding(table, (1, 0)), Text(results["summary"]["sentence"], style=f"bold {colour}"))


def _cell(row: dict[str, Any], column: str) -> Text:
    """`0.42 [0.31,0.52]`, the interval dim; three of them and a label fit into 80 columns."""
    known = interval(row.get(f"{column}_low"), row.get(f"{column}_high")) if present(row.get(column)) else ""
    return Text.assemble(decimals(row.get(column)), (f" {known}".rstrip().replace(", ", ","), "not bold dim"))


def summary_markdown(results: dict) -> str:
    """The sentence and the small table as Markdown, for a study's folder."""
    summary = results["summary"]
    target = summary.get("spearman_target")
    lines = [
        f"`{results.get('command', '')}`",
        "",
        str(summary["sentence"]),
        "",
        f"| score | kind | Spearman{f' with {target}' if target else ''} | AUROC | FID gain |",
        "|---|---|---|---|---|",
    ]
    for row in summary["table"]:
        cells = [_cell(row, column).plain for column in ("spearman", "auroc", "fid_gain")]
        lines.append(f"| {row['label']} | {row['kind']} | {' | '.join(cells)} |")
    foot = f"95 % intervals in brackets. {provenance(results)}."
    return "\n".join([*lines, "", foot, "", *outcome_markdown(results)])
