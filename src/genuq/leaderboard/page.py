"""The page of a leaderboard, in one file: the question and its answer first, then a table for each data set."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

import genuq
from genuq.leaderboard.board import Board
from genuq.leaderboard.figures import cost_panels
from genuq.leaderboard.rows import Statistics
from genuq.leaderboard.sheets import answer_of, called, headline_of, labels_of, notes_of, settings_of
from genuq.report.drawing import document, vocabulary
from genuq.report.drawing.values import significant

SCRIPTS = ("basics.js", "common.js", "leaderboard/start.js")
STYLES = ("page.css", "leaderboard/leaderboard.css")
WORDS = ("score", "control", "baseline", "oracle", "auroc", "adds", "interval", "evaluations")


def render(found: Statistics, board: Board, missing: Sequence[str], command: str) -> str:
    """The whole file.

    Args:
        missing: commands that make the conditions that are not there.
        command: that was typed.
    """
    settings, labels = settings_of(found, board), labels_of(found)
    context = {
        "first": "tables",
        "title": board.title,
        "question": board.question,
        "headline": headline_of(found),
        "answers": [answer_of(one, board, labels) for one in found.declared],
        "notes": list(notes_of(found, board)),
        "missing": missing,
        "settings": settings,
        "panels": [cost_panels(setting, number) for number, setting in enumerate(settings)],
        "facts": list(facts_of(board, labels)),
        "runs": [shlex.join(["genuq", *one.overrides]) for one in board.wanted],
        "command": command,
        "version": genuq.__version__,
        "glossary": {key: entry for key, entry in vocabulary.GLOSSARY.items() if key in WORDS},
        "images": {},
        "data": {},
    }
    return document.render("leaderboard/index.html.j2", context, SCRIPTS, STYLES)


def facts_of(board: Board, labels: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The board's settings, as a list of words and values.

    Args:
        labels: of the scores, as the tables have them.
    """
    scores, controls, nested = (
        [called(name, labels) for name in names] for names in (board.scores, board.controls, board.nested)
    )
    yield "Samples of each condition", significant(board.samples)
    yield "Data sets", "; ".join(f"{one.label}: seeds {', '.join(map(str, one.seeds))}" for one in board.data.values())
    yield "Samplers", "; ".join(one.label for one in board.samplers.values())
    yield "Scores", ", ".join(scores)
    yield "Controls", ", ".join(controls)
    yield "Controls of the nested model", ", ".join([*nested, "the class where there are classes"])
    yield (
        "Directions, fixed beforehand",
        ", ".join(f"{called(name, labels)}: {how} is bad" for name, how in board.directions.items()) or "higher is bad",
    )
    yield "Replicates of the bootstrap", significant(board.bootstrap)
