"""A study's table as LaTeX: what pdflatex takes, whatever the text."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from genuq.analysis.seeds import Reading
from genuq.report.study.latex import ESCAPES, escaped, table_latex
from genuq.report.study.published import published, published_numbers
from support.made_table import AUROC, ROWS, make_table

NASTY = r"50% of $x_1$ & {a} #1 ~ ^ \ <b> | `c` “d” -- e"


def strict(latex: str) -> None:
    """Raise for what pdflatex would stumble over: braces, environments, columns, bare special characters."""
    code = re.sub(r"(?m)^%.*$", "", latex)
    bare = re.sub(r"\\.", "", code)
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    opened = re.findall(r"\\(begin|end)\{(\w+)\}", code)
    stack: list[str] = []
    for what, name in opened:
        if what == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    assert not re.search(r"[#%^_~<>|\"`]", bare.replace("{,}", ""))
    assert bare.count("$") % 2 == 0
    for alignment, body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", code, flags=re.DOTALL):
        rows = [line for line in body.splitlines() if line.rstrip().endswith(r"\\")]
        for row in rows:
            wide = sum(int(many) - 1 for many in re.findall(r"\\multicolumn\{(\d+)\}", row))
            assert len(re.findall(r"(?<!\\)&", row)) + 1 + wide == len(alignment)
        assert rows and r"\toprule" in body and r"\midrule" in body and r"\bottomrule" in body


class TestLatex:
    def test_the_table_is_sound(self):
        strict(table_latex(make_table(published=tuple(published(published_numbers())))))

    def test_so_is_one_without_columns_and_with_a_single_key(self):
        readings = {(ROWS[0], "pixel", AUROC.name): {"0": Reading(-0.5, -1234.0, 0.2)}}
        latex = table_latex(make_table(readings, column=None, columns=("pixel",)))
        assert "cmidrule" not in latex and "$-0.500$ $[-1{,}234.000, 0.200]$" in latex
        strict(latex)

    def test_any_text_prints_as_itself(self):
        latex = table_latex(make_table(title=NASTY, question=NASTY, notes=(NASTY,), keys=(NASTY, NASTY)))
        strict(latex)
        assert r"50\% of \$x\_1\$ \& \{a\} \#1" in latex

    def test_dashes_of_options_do_not_melt_into_one(self):
        assert escaped("--scores ---x a-b – c") == "-{}-scores -{}-{}-x a-b -- c"

    def test_every_sign_is_escaped_by_itself(self):
        assert escaped("".join(ESCAPES)) == "".join(ESCAPES.values())

    def test_repeated_names_are_said_once(self):
        body = table_latex(make_table()).split(r"\midrule")[1]
        assert body.count("ddpm") == 1 and r"\addlinespace" in body

    def test_bold_means_the_same_as_in_markdown(self):
        table = make_table()
        assert table_latex(table).count(r"\boldmath") == sum(bool(cell.mark) for cell in table.cells.values()) == 5

    @pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
    def test_it_compiles(self, tmp_path):
        whole = table_latex(make_table(title=NASTY, notes=(NASTY,), published=tuple(published(published_numbers()))))
        (tmp_path / "table.tex").write_text(whole)
        page = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{table}\end{document}"
        (tmp_path / "page.tex").write_text(page)
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-1500:]
        assert "Missing character" not in (tmp_path / "page.log").read_text(errors="replace")
