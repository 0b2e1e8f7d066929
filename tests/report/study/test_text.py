"""A study's table as Markdown, CSV and LaTeX: the same numbers, nothing guessed, nothing that breaks the format."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import pytest

from genuq.analysis.seeds import Reading
from genuq.report.drawing.markdown import prose
from genuq.report.study.published import published
from genuq.report.study.text import table_csv, table_markdown
from support.made_table import AUROC, FID, ROWS, make_table


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
        assert "**1 of 15 runs is missing:**" in table_markdown(make_table(missing=("genuq seed=1",)))
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

    def test_text_of_the_users_is_text_outside_of_cells_too(self):
        nasty = "<b>x</b> [y](z) *w* 100% a_b"
        page = table_markdown(make_table(title=nasty, question=nasty, notes=(nasty,), commands=("genuq `x`",)))
        assert page.startswith(f"# {prose(nasty)}\n\n{prose(nasty)}\n\n`` genuq `x` ``\n")
        assert "<b>" not in page.replace("\\<b>", "") and "](" not in page.replace("\\](", "")

    def test_published_numbers_stand_beside_with_source_and_status(self):
        page = table_markdown(make_table(published=tuple(published(["diff_uq_fid_10k"]))))
        assert "| U-ViT-H/2 | ImageNet 256 | 9.45 | 7.89 |" in page
        assert "Jazbec et al., UAI 2025, quoted second-hand. Status: quoted second-hand." in page
        assert "12032 generated" in page
        assert "Published" not in table_markdown(make_table())


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

    def test_text_of_the_users_is_no_formula(self):
        place, made = (ROWS[0], "pixel", AUROC.name), make_table({(ROWS[0], "pixel", AUROC.name): {"0": Reading(-0.5)}})
        row, cells = ("=1+1", "@x"), {(("=1+1", "@x"), "-a", AUROC.name): made.cells[place]}
        table = replace(made, rows=(row,), columns=("-a",), measures=(AUROC,), cells=cells)
        line = next(csv.DictReader(io.StringIO(table_csv(table))))
        assert (line["model"], line["posterior"], line["likelihood"], line["mean"]) == ("'=1+1", "'@x", "'-a", "-0.5")

    def test_published_numbers_are_lines_of_their_own(self, lines):
        theirs = [line for line in lines if line["origin"] != "ours"]
        assert [(line["of"], line["measure"], line["mean"]) for line in theirs] == [
            ("filter: none", "fid", "62.53"),
            ("filter: bayesdiff_sum", "fid", "62.84"),
            ("filter: random", "fid", "62.91"),
            ("filter: random", "std", "0.1"),
        ]
        assert {line["status"] for line in theirs} == {"an independent reproduction's own figure"}
