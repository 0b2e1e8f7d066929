"""The sub-commands of `genuq`: a module each, with `main(arguments) -> exit status`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A sub-command.

    Attributes:
        usage: what follows its name.
        what: it does, for the help.
        module: that has its `main`; imported when it is called, so that the others start fast.
    """

    usage: str
    what: str
    module: str


COMMANDS = {
    "run": Command("[overrides]", "one run, or a sweep with -m; the word `run` may be left out", "genuq.cli.run"),
    "plan": Command("[overrides]", "what a run or sweep will make and cost, before it starts", "genuq.cli.plan"),
    "images": Command("FOLDER [overrides]", "score finished images, keep the least doubtful", "genuq.cli.images"),
    "store": Command("COMMAND", "list, show, verify or prune what lies in the store", "genuq.cli.store"),
    "study": Command("NAME", "one page for all runs of a study", "genuq.cli.study"),
    "leaderboard": Command(
        "[BOARD]", "scores beside controls where truth is exact; --score adds yours", "genuq.cli.leaderboard"
    ),
    "table": Command("experiments/X", "a study's tables (Markdown, LaTeX, CSV) and figures", "genuq.cli.table"),
    "dashboard": Command("NAME", "a study's workspace and report on Weights & Biases", "genuq.cli.dashboard"),
    "parts": Command(
        "[GROUP [NAME]]", "what is installed, and `new GROUP NAME`: a package for a new part", "genuq.cli.parts"
    ),
    "bench": Command("BENCHMARK", "what genuq's parts cost, beside other libraries", "genuq.cli.bench"),
}
ALIASES = ("table", "dashboard", "bench")  # that are programs of their own as well: genuq-table
