"""What a run shows: lines as they are, and bars that count to their end."""

from __future__ import annotations

import io

from rich.console import Console

from genuq.display import Display


def shown() -> tuple[Display, io.StringIO]:
    text = io.StringIO()
    return Display(Console(file=text, width=100)), text


def test_lines_are_said_as_they_are():
    display, text = shown()
    display.say("train: 3 of 7 steps")
    assert text.getvalue() == "train: 3 of 7 steps\n"


def test_brackets_are_no_markup_of_the_terminal():
    display, text = shown()
    for what in ("score.also=[trace]", "a folder [/data]", "[red]x[/red]"):
        display.say(what)
        with display.bar(what, 1) as done:
            done(1)
        assert text.getvalue().count(what) >= 2
        text.truncate(0)


def test_a_bar_counts_what_is_done():
    display, text = shown()
    with display.bar("samples", 5) as done:
        done(2)
        done(3)
    assert "samples" in text.getvalue() and "5/5" in text.getvalue()


def test_a_bar_ends_with_an_error_and_lets_it_through():
    display, text = shown()
    try:
        with display.bar("samples", 5) as done:
            done(2)
            raise KeyError("theirs")
    except KeyError as error:
        assert error.args == ("theirs",)
    assert "2/5" in text.getvalue()
