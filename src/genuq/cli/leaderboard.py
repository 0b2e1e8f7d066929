"""`genuq leaderboard`: scores of generative uncertainty where truth is exact, beside controls and their cost.

It makes the samples that are missing, saves them with their truth as sets that can be given to others, and writes the
tables (Markdown, LaTeX, CSV), the figures and one page. A call that was killed goes on where it stopped; what is there
is not made again. A score of your own, a function in a file of yours, is evaluated on the saved sets alone.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from genuq import files
from genuq.cli.console import complain
from genuq.cli.plan import saying, show
from genuq.cli.run import run_job
from genuq.config import schemas
from genuq.display import Display
from genuq.errors import ConfigurationError, GenuqError
from genuq.leaderboard import page, tables
from genuq.leaderboard.board import FASTEST, Board, read_board, shipped
from genuq.leaderboard.figures import cost_figures
from genuq.leaderboard.results import Condition, ScoredSet
from genuq.leaderboard.rows import statistics
from genuq.leaderboard.runs import (
    SETS,
    BoardRun,
    in_words,
    is_saved,
    plan_of,
    require_sound,
    runs_of,
    save,
    saved_below,
)
from genuq.leaderboard.saved import SavedSet
from genuq.leaderboard.scoring import REFUSED, score_part, score_saved, why_not
from genuq.leaderboard.sheets import headline_of, settings_of
from genuq.report.drawing.style import pdf, svg
from genuq.scores import ScorePart

LEADERBOARDS = Path("outputs") / "leaderboard"
FAILED = 1  # exit status where a condition is missing


def main(arguments: Sequence[str]) -> int:
    """Make what is missing, evaluate everything and write tables and page; returns the exit status.

    Raises:
        GenuqError: a board, score, data set or saved set that cannot be; nothing long has started.
    """
    schemas.register()
    given = parser().parse_args(arguments)
    board = chosen_board(given)
    scores = own_scores(given.score)
    out = given.out or LEADERBOARDS / board.name
    command = shlex.join(["genuq", "leaderboard", *arguments])
    if given.source is not None:
        sets = [one for one in saved_below(given.source) if is_asked(one.condition, given)]
        return write(board, sets, scores, out, command)
    runs = runs_of(board, out)
    if given.dry_run:
        return tell(runs, command)
    require_sound(plan_of([one for one in runs if not one.is_finished], command))
    made = [one for one in runs if make(one, command)]
    return write(board, [SavedSet.open(one.set_folder) for one in made], scores, out, command)


def parser() -> argparse.ArgumentParser:
    summary, details = (__doc__ or "").split("\n\n", 1)
    whole = argparse.ArgumentParser("genuq leaderboard", description=summary, epilog=details)
    whole.add_argument(
        "board",
        nargs="?",
        metavar="BOARD",
        help=f"{', '.join(shipped())} (default: full), or the path of a board of your own, a YAML file",
    )
    whole.add_argument("--quick", action="store_true", help=f"the board {FASTEST}, made from nothing in ten minutes")
    whole.add_argument(
        "--score",
        action="extend",
        nargs="+",
        default=[],
        metavar="MODULE:FUNCTION",
        help="a score of your own, evaluated on the saved sets; the folder where you are is searched for it",
    )
    whole.add_argument("--data", action="extend", nargs="+", default=[], metavar="NAME", help="these data sets alone")
    whole.add_argument(
        "--seeds", action="extend", nargs="+", default=[], type=int, metavar="N", help="these training seeds alone"
    )
    whole.add_argument("--out", type=Path, help=f"folder to write into (default: {LEADERBOARDS}/BOARD)")
    whole.add_argument(
        "--from", dest="source", type=Path, metavar="FOLDER", help="saved sets of others; no run is made"
    )
    whole.add_argument("--dry-run", action="store_true", help="say what would be made and what it takes, and stop")
    return whole


def chosen_board(given: argparse.Namespace) -> Board:
    """The board that was asked for, with the data sets and seeds that were."""
    if given.quick and given.board not in (None, FASTEST):
        raise ConfigurationError(
            f"--quick is the board '{FASTEST}', but '{given.board}' was named. Give one of the two."
        )
    if given.source is not None and given.dry_run:
        raise ConfigurationError("--from makes nothing, so that --dry-run has nothing to say. Leave one of them out.")
    board = read_board(FASTEST if given.quick else given.board or "full")
    return board.only(given.data, given.seeds) if given.source is None else board


def is_asked(condition: Condition, given: argparse.Namespace) -> bool:
    """Whether a saved set is one of those that were asked for."""
    is_of_data = not given.data or condition.data in given.data
    return is_of_data and (not given.seeds or condition.seed in given.seeds)


def own_scores(paths: Sequence[str]) -> list[ScorePart]:
    """The scores that were named beside the board's, loaded.

    Raises:
        ConfigurationError: no such module or function, one that is no score, or one that no saved set can give.
    """
    if paths and "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    found = [score_part(path) for path in paths]
    for part in found:
        if part.source in REFUSED:
            raise ConfigurationError(
                f"--score {part.name} {REFUSED[part.source]}: name it under `scores` in a board of your own instead."
            )
    return found


def tell(runs: Sequence[BoardRun], command: str) -> int:
    """Say what would be made and what it takes; 1 where a run would stop before it starts."""
    console = Console(markup=False)
    left = [one for one in runs if not one.is_finished]
    console.print(f"{len(runs) - len(left)} of {len(runs)} conditions are there", highlight=False)
    if not left:
        return 0
    with saying(console, "composing the runs"):
        plan = plan_of(left, command)
    with saying(console, "looking at the store's runs") as say:
        plan.estimate(True, lambda what: say(f"measuring on this machine: {what}"))
    show(plan, console)
    return FAILED if any(job.error for job in plan.jobs) else 0


def make(run: BoardRun, command: str) -> bool:
    """Make a condition's run and its saved set, where they are not there; False where that failed, which is told."""
    console = Console(markup=False)
    try:
        if not run.is_finished:
            console.rule(in_words(run.condition))
            run_job(run.config, run.folder, command, run.with_choices())
        if not is_saved(run):
            with Display().busy(f"saving the set of {in_words(run.condition)}"):
                save(run)
    except GenuqError as error:
        complain(error)
        return False
    return True


# What is written


def write(board: Board, sets: Sequence[SavedSet], scores: Sequence[ScorePart], out: Path, command: str) -> int:
    """Evaluate the sets and write everything; returns the exit status, 1 where conditions are missing."""
    console = Console(markup=False)
    require_scores(sets, scores)
    scored = [with_scores(one, scores) for one in sets]
    with saying(console, "statistics") as say:
        found = statistics(scored, board, lambda what: say(f"statistics: {what}"))
    there = {one.condition for one in scored}
    missing = list(dict.fromkeys(board.command(one.condition) for one in board.wanted if one.condition not in there))
    texts = {
        "index.html": page.render(found, board, missing, command),
        "table.md": tables.markdown(found, board, missing),
        "table.tex": tables.latex(found, board),
        "table.csv": tables.csv(found),
    }
    for name, text in texts.items():
        files.write_text(out / name, text)
    for name, figure in cost_figures(settings_of(found, board)).items():
        files.write_text(out / f"{name}.svg", svg(figure))
        files.write_bytes(out / f"{name}.pdf", pdf(figure))
    console.print(headline_of(found), soft_wrap=True, highlight=False)
    console.print(f"{len(scored)} conditions, their samples in {out / SETS}. Open {out / 'index.html'}", soft_wrap=True)
    return FAILED if missing else 0


def require_scores(sets: Sequence[SavedSet], scores: Sequence[ScorePart]) -> None:
    """Raise ConfigurationError for a score that none of the sets can give, with the first reason."""
    for part in scores:
        reasons = [why_not(saved, part) for saved in sets]
        if sets and None not in reasons:
            raise ConfigurationError(f"--score {part.name} {reasons[0]}.")


def with_scores(saved: SavedSet, scores: Sequence[ScorePart]) -> ScoredSet:
    """A saved set with the scores of the user's beside its own; without those that it cannot give, which is told."""
    found, display = saved.scored(), Display()
    columns = dict(found.columns)
    for part in scores:
        if (reason := why_not(saved, part)) is not None:
            display.say(f"{in_words(saved.condition)}: {part.label} {reason}")
        else:
            columns[part.name] = score_saved(saved, part, display=display)
    return replace(found, columns=columns)
