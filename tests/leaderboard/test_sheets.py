"""What the tables of a leaderboard say, and its answer in words."""

from dataclasses import replace

import pytest

from genuq.analysis import Interval, Undefined
from genuq.leaderboard.rows import Gain, statistics
from genuq.leaderboard.sheets import Cell, answer_of, cell_text, headline_of, labels_of, notes_of, p_value, settings_of
from support.made_board import board, scored, sets


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    declared = board(tmp_path_factory.mktemp("board"))
    return statistics(sets(range(4), samples=700), declared), declared


def test_a_table_for_each_measure_scores_down_faults_across(made) -> None:
    (setting,) = settings_of(*made)
    assert (setting.title, setting.seeds) == ("Glyphs, Euler", 4)
    assert [sheet.measure.name for sheet in setting.sheets] == ["auroc", "gain", "over", "per_evaluation"]
    auroc = setting.sheets[0]
    assert [head.fault for head in auroc.heads] == ["broken", "rule_broken"]
    assert [line.kind for line in auroc.lines] == ["score", "score", "baseline", "control", "control"]
    best = {line.score: line.cells[0].bold for line in auroc.lines}
    assert [name for name, bold in best.items() if bold] == ["renoised_disagreement"]
    gain = {line.score: line.cells[0] for line in setting.sheets[1].lines}
    assert gain["renoised_disagreement"].bold and not gain["entropy"].bold
    assert gain["renoised_disagreement"].note == "q < 0.001" and gain["lid"].note == "nothing to add to"
    over = {line.score: line.cells[0] for line in setting.sheets[2].lines}
    assert over["renoised_disagreement"].note == "Lid" and over["random"].note == "a control"
    assert over["lid"].note == "a control"  # a baseline that the board has scores held against


def test_what_one_training_adds_and_another_does_not_is_not_bold(made) -> None:
    """The likelihood-ratio test takes all samples for one training's."""
    found, declared = made
    rows = tuple(
        replace(row, gain=replace(row.gain, interval=replace(row.gain.interval, low=-0.01)))
        if isinstance(row.gain, Gain)
        else row
        for row in found.rows
    )
    (setting,) = settings_of(replace(found, rows=rows), declared)
    cell = next(line.cells[0] for line in setting.sheets[1].lines if line.score == "renoised_disagreement")
    assert cell.note == "q < 0.001" and not cell.bold


def test_the_answer_says_what_holds_and_what_does_not(made) -> None:
    found, declared = made
    assert headline_of(found) == "2 of 3 declared comparisons hold, 1 came out the other way."
    labels = labels_of(found)
    first, nested, random = (answer_of(one, declared, labels) for one in found.declared)
    assert first.startswith("Glyphs, Euler, broken: Renoised disagreement is above Lid: 0.")
    assert "adds to Lid: " in nested and "p < 0.001 (Holm)" in nested
    assert "Entropy is below Lid: −0." in random
    unsure = replace(found.declared[0], adjusted=0.2)
    assert "was not shown to be above" in answer_of(unsure, declared, labels)
    few = replace(found.declared[0], bad=30)
    assert "only 30 bad and" in answer_of(few, declared, labels)
    lost = replace(found.declared[0], difference=Undefined("its samples are missing"), adjusted=None)
    assert answer_of(lost, declared, labels).endswith("is not known: its samples are missing.")
    assert headline_of(replace(found, declared=(lost,))) == "None of the declared comparisons could be made yet."
    assert "1 could not be made" in headline_of(replace(found, declared=(found.declared[0], lost)))
    assert headline_of(replace(found, declared=())).startswith("No comparison was declared")


def test_notes(made) -> None:
    found, declared = made
    notes = " ".join(notes_of(found, declared))
    assert "cover about 75 %" in notes and "†" not in notes
    few = replace(found, rows=tuple(replace(one, bad=10) for one in found.rows))
    assert "† Fewer than 200" in " ".join(notes_of(few, declared))
    judged = replace(found, rows=tuple(replace(one, fault="judged_bad") for one in found.rows))
    assert "a classifier" in " ".join(notes_of(judged, declared)) and "a classifier" not in notes
    assert settings_of(few, declared)[0].sheets[0].heads[0].label == "Broken†"


def test_only_controls_that_a_model_knew_are_named(made, tmp_path) -> None:
    """These data have no classes; of sets without complexity the model knows none."""
    found, declared = made
    notes, nested = " ".join(notes_of(found, declared)), answer_of(found.declared[1], declared, labels_of(found))
    assert "Controls that a score may add to: Lid." in notes and "class" not in notes
    assert "Renoised disagreement adds to Lid: " in nested and "class" not in nested
    assert not any("class, controls" in one.measure.about for one in settings_of(*made)[0].sheets)


def test_controls_are_named_for_each_setting_where_they_differ(tmp_path) -> None:
    declared = board(tmp_path, controls=["random", "lid", "complexity"], nested=["lid", "complexity"])
    points = scored(samples=400, data="points")
    of_points = replace(points, complexity=None)
    found = statistics([scored(samples=400, classes=2), of_points], declared)
    told = "Controls that a score may add to: class, Lid, complexity (Glyphs, Euler); Lid (points, Euler)."
    assert told in " ".join(notes_of(found, declared))
    assert "adds to class, Lid and complexity: " in answer_of(
        replace(found.declared[1], adjusted=0.0, difference=Interval(0.2, 0.1, 0.3)), declared, labels_of(found)
    )


def test_numbers() -> None:
    assert cell_text(Cell(Interval(0.6123, 0.55, 0.67)), 3) == "0.612 [0.550, 0.670]"
    assert cell_text(Cell(None), 3) == "–"
    assert (p_value(0.0002), p_value(0.0312)) == ("< 0.001", "0.031")
