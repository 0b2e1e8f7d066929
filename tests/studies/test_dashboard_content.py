"""What a study's dashboard shows: runs grouped by all but their seeds, controls beside the score."""

from __future__ import annotations

import dataclasses

import pytest

from genuq.errors import ConfigurationError
from genuq.studies.dashboard_content import board_of, report_of, sections, table, workspace_of
from support.made_sweep import SWEEP, board, record


def test_runs_of_the_study_are_grouped_by_posterior_in_both() -> None:
    feeds = [workspace_of(board())._to_model().spec.section.run_sets[0]]
    for block in report_of(board())._to_model().spec.blocks:
        if block.type == "panel-grid":
            feeds += block.metadata.run_sets
    assert len(feeds) == 1 + len(sections(board()))
    for feed in feeds:
        assert [(key.section, key.name) for key in feed.grouping] == [("config", "posterior.value.name")]
        (only,) = feed.filters["filters"]
        assert (only["key"]["name"], only["op"], only["value"]) == ("group", "=", "sweep")


@pytest.mark.parametrize(
    ("runs", "grouping"),
    [
        ([{"seed": 0}, {"seed": 1}], []),
        ([{"model": "ddpm"}, {"model": "flow_matching"}], ["model.name"]),
        ([{"likelihood": "clip"}, {"likelihood": "dino"}], ["likelihood.extractor"]),
        ([{"posterior__temperature": 1.0, "seed": 0}, {"posterior__temperature": 2.0}], ["posterior.temperature"]),
        ([{"trainer__devices": 1}, {"trainer__devices": 2}], []),
        ([{"trainer__steps": 1}, {"trainer__steps": 2}], ["trainer.steps"]),
    ],
)
def test_nothing_is_averaged_that_differs_in_more_than_its_seed(runs: list[dict], grouping: list[str]) -> None:
    assert board(*(record(n, **run) for n, run in enumerate(runs))).grouping == ["posterior.name", *grouping]


def test_controls_stand_beside_the_score_and_the_table_names_the_best() -> None:
    assert board().compared == ["entropy", "random", "jitter"]
    lines = table(board()).splitlines()
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|")
    assert "| Entropy | 0.61 [0.53, 0.70] | Jitter 0.57 | −0.10 [−0.20, 0.00] | – | 1.25 |" in lines[2]
    assert len(lines) == 2 + len(SWEEP) + 2


def test_cost_is_shown_by_stage() -> None:
    shown = sections(board())["Cost and scale"][0].metrics
    assert shown == ["seconds/train", "seconds/fit", "seconds/evaluate"]


def test_the_report_quotes_every_run_and_its_command() -> None:
    text = "\n".join(getattr(block, "text", "") for block in report_of(board()).blocks if hasattr(block, "text"))
    assert all(f"**{entry.name}**: Run {int(entry.id, 16)} says so." in text for entry in SWEEP)
    assert text.count("genuq -m study=sweep") == 1


def test_panels_of_a_report_do_not_lie_upon_each_other() -> None:
    for block in report_of(board())._to_model().spec.blocks:
        if block.type == "panel-grid":
            taken = set()
            for panel in block.metadata.panel_bank_section_config.panels:
                at = panel.layout
                cells = {(x, y) for x in range(at.x, at.x + at.w) for y in range(at.y, at.y + at.h)}
                assert not cells & taken and at.x + at.w <= 24
                taken |= cells


def test_several_projects_ask_for_a_choice() -> None:
    records = [record(0), record(1, logger__project="other")]
    with pytest.raises(ConfigurationError, match=r"other, uncertain.*--project"):
        board(*records)
    assert board_of("sweep", records, "us", "other").project == "other"


def test_runs_that_nobody_logged_ask_for_a_project() -> None:
    unlogged = dataclasses.replace(record(0), config={**record(0).config, "logger": {"name": "none"}})
    with pytest.raises(ConfigurationError, match=r"No run of 'sweep' was logged .*logger=wandb.*--project"):
        board_of("sweep", [unlogged], "us", None)
    assert board_of("sweep", [unlogged], "us", "other").project == "other"
    assert board_of("sweep", [unlogged, record(1)], "us", None).project == "uncertain"
