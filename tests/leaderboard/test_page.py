"""The page of a leaderboard in real Chromium: question and answer first, no name acts, readable on a phone."""

import re
from dataclasses import replace

import pytest

from genuq.leaderboard.page import facts_of, render
from genuq.leaderboard.rows import statistics
from support.browsing import HOSTILE, asked_for, find, opened, scroll_width, start
from support.made_board import board, sets


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    declared = board(tmp_path_factory.mktemp("board"), question=f"Does it? {HOSTILE}")
    found = statistics(sets(), declared)
    rows = tuple(replace(one, label=f"{one.label} {HOSTILE}") for one in found.rows)
    return replace(found, rows=rows), declared


@pytest.fixture(scope="module")
def page_text(made):
    return render(*made, ["genuq leaderboard made --data x"], "genuq leaderboard made")


def test_question_answer_tables_settings_in_this_order(page_text) -> None:
    places = [
        page_text.index(text)
        for text in ("Does it?", "1 of 3 declared comparisons hold", "--data x", "Glyphs, Euler</h2>", "Settings</h2>")
    ]
    assert places == sorted(places)
    assert "genuq experiment=glyphs" in page_text and "<script>window" not in page_text


def test_settings_are_told_in_the_words_of_the_tables(made) -> None:
    facts = dict(facts_of(made[1], {"lid": "Re-noising loss (LID)"}))
    assert facts["Data sets"] == "Glyphs: seeds 0, 1"
    assert facts["Controls of the nested model"] == "Re-noising loss (LID), the class where there are classes"
    assert facts["Controls"] == "random, jitter, Re-noising loss (LID)"
    assert facts["Directions, fixed beforehand"] == "higher is bad"


def test_in_a_browser(page_text, tmp_path) -> None:
    path = tmp_path / "index.html"
    path.write_text(page_text)
    browser = start(tmp_path / "profile")
    try:
        page = opened(browser, path)
        assert browser.get_log("browser") == []
        assert page.execute_script("return window.hacked") is None
        assert not [url for url in asked_for(page) if url.startswith(("http", "ws"))]
        assert len(find(page, "table.board")) == 4 and len(find(page, ".plot svg")) == 2
        shown = find(page, "table.board tbody tr.kind-score td .number")[0].text
        assert re.fullmatch(r"0\.\d{3}", shown)
        assert scroll_width(page, 390) <= 390
    finally:
        browser.quit()
