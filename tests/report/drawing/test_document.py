"""A page in one file: its script's hash, what is missing, and whiskers that can be compared."""

from __future__ import annotations

import base64
import hashlib
from types import SimpleNamespace

import pytest

from genuq.analysis.score_entries import IntervalRow
from genuq.report.drawing.document import by_kind, environment, headline, joined, short, whisker


def test_files_of_the_templates_are_joined_in_order() -> None:
    both, first = joined(["basics.js", "common.js"]), joined(["basics.js"])
    assert both == f"{first}\n{joined(['common.js'])}" and first.strip() == first


def test_everything_is_escaped_and_what_is_missing_reads_as_missing() -> None:
    template = environment().from_string("{{ name }} {{ run.absent.too | decimals }} {{ value | decimals }}")
    assert template.render(name="<b>&", run={}, value=0.25) == "&lt;b&gt;&amp; – 0.25"


def test_the_policy_names_the_script_by_its_hash() -> None:
    from genuq.report.drawing import document

    made = document.environment().from_string("{{ script_hash }}")
    script = joined(["basics.js"])
    expected = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    loaded = SimpleNamespace(get_template=lambda name: made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "environment", lambda: loaded)
        assert document.render("any", {}, ["basics.js"], []).replace("&#43;", "+") == expected


def test_a_long_sentence_is_parted_at_its_colon() -> None:
    grounds = "shown a bad and a good one, it gives the bad one the higher score " * 2
    assert headline(f"It finds them: {grounds}") == ("It finds them:", grounds)
    assert headline("It finds them: often.") == ("It finds them: often.", "")
    assert headline(None) == ("–", "")


def test_kinds_keep_the_order_of_their_first() -> None:
    rows = [SimpleNamespace(kind=kind, n=n) for n, kind in enumerate(["score", "control", "score"])]
    assert [(kind, [row.n for row in found]) for kind, found in by_kind(rows)] == [("score", [0, 2]), ("control", [1])]


def test_whiskers_of_a_column_share_its_widest_scale() -> None:
    column = [IntervalRow(0.5, 0.4, 0.6), IntervalRow(1.5, 1.0, 2.0), IntervalRow(None, None, None)]
    assert whisker(column[0], column, (0.0, 1.0)) == {"middle": 25.0, "low": 20.0, "high": 30.0, "zero": 0.0}
    assert whisker(column[1], column, (0.0, 1.0)) == {"middle": 75.0, "low": 50.0, "high": 100.0, "zero": 0.0}
    assert whisker(column[2], column, (0.0, 1.0)) is None
    assert whisker(IntervalRow(0.5, None, None), column, (0.0, 1.0)) == {
        **dict.fromkeys(("middle", "low", "high"), 25.0),
        "zero": 0.0,
    }


def test_numbers_are_no_longer_than_a_page_can_use() -> None:
    assert short(0.123456789012) == 0.12345679 and short(1234.5678, 3) == 1230.0
    assert short("0.123456789012") == "0.123456789012" and short(123456789012) == 123456789012
