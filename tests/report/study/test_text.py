"""A study's table as Markdown, CSV and LaTeX: the same numbers, nothing guessed, nothing that breaks the format."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess

import pytest

from genuq.analysis.seeds import Reading
from genuq.report.study.latex import ESCAPES, escaped, table_latex
from genuq.report.study.published import published, published_numbers
from genuq.report.study.text import table_csv, table_markdown
from genuq.report.study.words import places_of
from support.made_table import AUROC, FID, ROWS, make_table

NASTY = r"50% of $x_1$ & {a} #1 ~ ^ \ <b> | `c` “d” -- e"


def rows_of(markdown: str) -> list[list[str]]:
    """The cells of the first table."""
    lines = markdown.split("\n\n| ")[1].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in lines]


class TestMarkdown:
    def test_cells_say_mean_error_count_and_mark(self):
        headings, _, *rows = rows_of(table_markdown(make_table()))
        assert headings == [
            "model",
            "posterior",
            "AUROC ↑ · pixel",
            "AUROC ↑ · semantic",
            "FID ↓ · pixel",
            "FID ↓ · semantic",
        ]
        # the standard error of 0.60, 0.62, 0.61 is 0.01 / √3
        assert rows[0][:4] == ["ddpm", "KFAC Laplace", "**0.610 ± 0.006** (3)", "**0.710 ± 0.010** (2 of 3)"]
        assert rows[1][2] == "0.513 ± 0.009 (3)"
        assert rows[1][3] == "**0.690** [0.600, 0.750] (1 of 3)"
        assert rows[0][4] == "1,234.7 ± 0.1 (3)"

    def test_what_is_missing_is_a_dash_and_what_nobody_asked_for_is_blank(self):
        *_, last = rows_of(table_markdown(make_table()))
        assert last == ["flow matching", "KFAC Laplace", "**0.607 ± 0.012** (3)", "", "—", ""]

    def test_missing_runs_are_counted_and_can_be_made(self):
        page = table_markdown(make_table())
        assert "**2 of 15 runs are missing:**" in page
        assert "```\ngenuq model=ddpm seed=1\ngenuq model=ddpm seed=2\n```" in page
        assert "missing" not in table_markdown(make_table(missing=()))
        assert "and 8 more, in missing.txt" in table_markdown(make_table(missing=("genuq seed=1",) * 20))

    def test_the_legend_tells_only_of_what_is_there(self):
        page = table_markdown(make_table())
        assert "standard error over seeds" in page and "paired over shared seeds" in page
        assert "own 95 % interval in brackets" in page
        alone = {(ROWS[0], "pixel", AUROC.name): {"0": Reading(0.5)}}
        page = table_markdown(make_table(alone))
        assert "±" not in page and "Bold" not in page

    def test_text_of_the_users_stays_inside_its_cell(self):
        rows = rows_of(table_markdown(make_table(commands=(), keys=("a|b", "posterior"))))
        assert rows[0][0] == r"a\|b" and {len(row) for row in rows} == {6}

    def test_published_numbers_stand_beside_with_source_and_status(self):
        page = table_markdown(make_table(published=tuple(published(["diff_uq_fid_10k"]))))
        assert "| U-ViT-H/2 | ImageNet 256 | 9.45 | 7.89 |" in page
        assert "Jazbec et al., UAI 2025, quoted second-hand. Status: quoted second-hand." in page
        assert "12032 generated" in page
        assert "Published" not in table_markdown(make_table())


def test_every_number_of_the_largest_size_has_three_significant_digits():
    assert [places_of([value]) for value in (0.612, -8.4, 62.5, 1234, 0.00123, 0.0)] == [3, 2, 1, 0, 5, 2]
    assert places_of([]) == 2


class TestCsv:
    @pytest.fixture
    def lines(self) -> list[dict[str, str]]:
        table = make_table(published=tuple(published(["bayesdiff_celeba_reproduction"])))
        return list(csv.DictReader(io.StringIO(table_csv(table))))

    def test_there_is_a_line_for_each_cell_and_measure(self, lines):
        ours = [line for line in lines if line["origin"] == "ours"]
        keys = {(line["model"], line["posterior"], line["likelihood"], line["measure"]) for line in ours}
        assert len(ours) == len(keys) == 12

    def test_numbers_are_whole(self, lines):
        table = make_table()
        for line in lines[:12]:
            measure = {AUROC.name: AUROC, FID.name: FID}[line["measure"]]
            found = table.cell((line["model"], line["posterior"]), line["likelihood"], measure)
            assert int(line["n"]) == (found.estimate.n if found.estimate else 0)
            assert len(line["runs"].split()) == int(line["n"])
            for name, value in (("mean", "mean"), ("standard_error", "error"), ("low", "low"), ("high", "high")):
                expected = getattr(found.estimate, value) if found.estimate else None
                assert line[name] == ("" if expected is None else repr(expected))

    def test_published_numbers_are_lines_of_their_own(self, lines):
        theirs = [line for line in lines if line["origin"] != "ours"]
        assert [(line["of"], line["measure"], line["mean"]) for line in theirs] == [
            ("filter: none", "fid", "62.53"),
            ("filter: bayesdiff_sum", "fid", "62.84"),
            ("filter: random", "fid", "62.91"),
            ("filter: random", "std", "0.1"),
        ]
        assert {line["status"] for line in theirs} == {"an independent reproduction's own figure"}


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
