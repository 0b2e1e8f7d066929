"""The tables that leave the report: CSV and terminal."""

import csv
import io

import pytest
from rich.console import Console

from genuq.report.drawing.markdown import prose
from genuq.report.run.tables import samples_csv, summary_markdown, terminal_table, verdict
from support.made_run import typed


def printed(results, width=80):
    console = Console(file=io.StringIO(), width=width, no_color=True)
    console.print(terminal_table(typed(results)))
    return console.file.getvalue()


def test_the_csv_gives_every_value_back(run):
    results = run[0]
    table = results["samples"]
    table["rows"][0][3], table["rows"][1][2] = None, 'a "quoted", name\nwith a break'
    rows = list(csv.DictReader(io.StringIO(samples_csv(typed(results)))))
    assert len(rows) == len(table["rows"])
    for read, row in zip(rows, table["rows"]):
        for name, value in zip(table["columns"], row):
            if value is None:
                assert read[name] == ""
            elif isinstance(value, float):
                assert float(read[name]) == value
            else:
                assert read[name] == str(value)


def test_the_terminal_shows_scores_controls_and_the_sentence(run):
    text = printed(run[0], width=100)
    row = run[0]["summary"]["table"][0]
    assert max(map(len, printed(run[0], width=80).splitlines())) <= 80
    assert f"{row['auroc']:.2f} [{row['auroc_low']:.2f},{row['auroc_high']:.2f}]" in text
    assert text.index("Generative uncertainty") < text.index("— controls") < text.index("Initial-noise jitter")
    assert " ".join(text.split()).endswith(run[0]["summary"]["sentence"])


def test_missing_numbers_and_markup_in_the_terminal(run):
    results = run[0]
    results["summary"]["table"] = results["summary"]["table"][:1]
    results["summary"]["table"][0] |= {"label": "[red]odd[/red]", "auroc": None, "spearman": float("nan")}
    line = next(line for line in printed(results).splitlines() if "odd" in line)
    assert "[red]odd[/red]" in line and line.count("–") == 2


@pytest.mark.parametrize("finds", [True, False, None])
def test_every_verdict_prints(run, finds):
    run[0]["summary"]["finds_bad"] = finds
    assert run[0]["summary"]["sentence"].split()[0] in printed(run[0])


def test_a_score_that_a_control_matches_earns_no_green(run):
    run[0]["summary"] |= {"finds_bad": True, "beats_controls": True}
    assert verdict(typed(run[0]))[1] == "green"
    run[0]["summary"]["beats_controls"] = False
    words, colour = verdict(typed(run[0]))
    assert "control" in words and colour != "green"


def test_the_markdown_holds_the_sentence_and_every_row(run):
    results = run[0]
    text = summary_markdown(typed(results))
    assert results["summary"]["sentence"] in text and results["command"] in text
    body = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert [line.split("|")[1].strip() for line in body] == [row["label"] for row in results["summary"]["table"]]
    assert all(line.count("|") == 7 for line in body)


MARKERS = ("<b>x</b>", "a & b", "a_b", "100 %", "=1+1", "@x")


@pytest.mark.parametrize("text", MARKERS)
def test_names_from_outside_are_text_in_every_file(run, text):
    """A class folder's name in the CSV; a label, the command and the sentence in the Markdown."""
    results = run[0]
    place = results["samples"]["columns"].index("class_name")
    results["samples"]["rows"][0][place] = text
    results["summary"]["table"][0]["label"] = results["summary"]["sentence"] = results["command"] = text
    first = next(csv.DictReader(io.StringIO(samples_csv(typed(results)))))
    assert first["class_name"] == (f"'{text}" if text[0] in "=@" else text)
    markdown = summary_markdown(typed(results))
    assert markdown.startswith(f"`{text}`\n\n{prose(text)}\n")
    assert f"| {prose(text)} |" in markdown and "<b>" not in markdown.replace("\\<b>", "").replace(f"`{text}`", "")
