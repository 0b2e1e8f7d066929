"""A study's table as LaTeX: booktabs, nothing to edit by hand, compiles with pdflatex."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from genuq.report.study.published import Published
from genuq.report.study.table import Cell, Row, StudyTable
from genuq.report.study.text import column_label, provenance
from genuq.report.study.words import (
    ARROWS,
    cell_text,
    column_words,
    key_words,
    legend,
    missing_words,
    places,
    row_words,
    title_of,
)
from genuq.store.scales import FULL, at_scale

ESCAPES = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textasciigrave{}",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "→": r"$\to$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "…": r"\dots{}",
    "†": r"\textdagger{}",
}
MISSING = "---"


def escaped(text: str) -> str:
    """Any text as LaTeX that prints as that text, on one line."""
    flat = " ".join(text.split())
    return re.sub(
        r"--+|.", lambda part: "{}".join(part[0]) if part[0][:2] == "--" else ESCAPES.get(part[0], part[0]), flat
    )


def table_latex(table: StudyTable) -> str:
    """A table environment for the study and one for each published result; they need `\\usepackage{booktabs}`."""
    name = at_scale(table.name, table.scale)
    head = [f"% {' '.join(line.split())}" for line in (f"genuq table, study {name}", *table.commands)]
    if table.missing:
        head.append(f"% {missing_words(table)}")
    own = environment(title_of(table), _notes(table), name, _study_rows(table), _alignment(table))
    others = [_published(entry, table.name) for entry in table.published]
    return "\n".join([*head, own, *others])


def _notes(table: StudyTable) -> str:
    missing = f"{missing_words(table)}." if table.missing else ""
    return " ".join(filter(None, [table.question, *legend(table), *table.notes, missing]))


def _alignment(table: StudyTable) -> str:
    return "l" * len(table.keys) + "r" * (len(table.measures) * len(table.columns))


def environment(title: str, notes: str, label: str, lines: Iterable[str], alignment: str) -> str:
    """A table environment with its caption; the lines are LaTeX, title and notes any text."""
    name = re.sub(r"[^A-Za-z0-9-]+", "-", label)
    body = "\n".join(f"    {line}" for line in lines)
    return (
        "\\begin{table}[t]\n"
        "  \\centering\n"
        f"  \\caption{{{escaped(_sentence(title))} {escaped(notes)}}}\n"
        f"  \\label{{tab:{name}}}\n"
        "  \\medskip\n"
        f"  \\begin{{tabular}}{{{alignment}}}\n"
        "    \\toprule\n"
        f"{body}\n"
        "    \\bottomrule\n"
        "  \\end{tabular}\n"
        "\\end{table}\n"
    )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def latex_line(cells: Iterable[str]) -> str:
    """A row of cells, which are LaTeX."""
    return f"{' & '.join(cells)} \\\\"


def _study_rows(table: StudyTable) -> list[str]:
    keys = [escaped(key_words(key)) for key in table.keys]
    names = [f"{escaped(measure.label)} {escaped(ARROWS[measure.better])}".strip() for measure in table.measures]
    lines = [latex_line([*keys, *names])]
    if table.column is not None:
        lines = _two_headings(table, keys, names)
    lines.append("\\midrule")
    digits = {measure.name: places(table, measure) for measure in table.measures}
    before: Row = ()
    for row in table.rows:
        if before and len(row) > 1 and row[0] != before[0]:
            lines.append("\\addlinespace")
        cells = [
            cell_latex(table.cell(row, column, measure), digits[measure.name], table.scale)
            for measure in table.measures
            for column in table.columns
        ]
        lines.append(latex_line([*_unrepeated(table, row, before), *cells]))
        before = row
    return lines


def _two_headings(table: StudyTable, keys: Sequence[str], names: Sequence[str]) -> list[str]:
    """The measures above, each over its columns."""
    wide, first = len(table.columns), len(keys) + 1
    spans = [f"\\multicolumn{{{wide}}}{{c}}{{{name}}}" for name in names]
    rules = " ".join(
        f"\\cmidrule(lr){{{first + wide * nth}-{first + wide * (nth + 1) - 1}}}" for nth in range(len(names))
    )
    columns = [escaped(column_words(table, column)) for column in table.columns]
    return [latex_line([*[""] * len(keys), *spans]), rules, latex_line([*keys, *columns * len(names)])]


def _unrepeated(table: StudyTable, row: Row, before: Row) -> list[str]:
    """The row's names, without those that it shares with the row above from the left on."""
    words = [escaped(word) for word in row_words(table, row)]
    shared = 0
    while shared < min(len(row) - 1, len(before)) and row[shared] == before[shared]:
        shared += 1
    return [*[""] * shared, *words[shared:]]


def cell_latex(cell: Cell, digits: int, scale: str = FULL) -> str:
    """`\\textbf{0.612}`, its standard error or interval and the number of seeds; a dash where there is none."""
    text = cell_text(cell, digits, scale)
    if text is None:
        return MISSING if cell.expected else ""
    value = f"{math_number(text.value)} \\pm {math_number(text.error)}" if text.error else math_number(text.value)
    shown = f"{{\\boldmath${value}$}}" if cell.mark else f"${value}$"
    span = f" ${math_number(text.span)}$" if text.span else ""
    mark = f" {{\\scriptsize {escaped(text.mark)}}}" if text.mark else ""
    return f"{shown}{span} {{\\scriptsize({text.count})}}{mark}"


def math_number(number: str) -> str:
    """A number as math has it: its minus, and a comma between thousands that is no punctuation."""
    return re.sub(r"(?<=\d),(?=\d)", "{,}", number.replace("−", "-"))


def _published(entry: Published, study: str) -> str:
    columns, measures = entry.columns, entry.measures
    texts = len(columns) - len(measures)
    lines = [latex_line(escaped(column_label(name)) for name in columns), "\\midrule"]
    for row in entry.rows:
        words = [escaped(str(row[name])) if name in row else MISSING for name in columns]
        lines.append(
            latex_line(f"${word}$" if name in measures and name in row else word for name, word in zip(columns, words))
        )
    alignment = "l" * texts + "r" * len(measures)
    return environment("Published numbers", provenance(entry), f"{study}-{entry.name}", lines, alignment)
