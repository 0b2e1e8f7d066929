"""The command `genuq`: finds the sub-command, `run` where none is named, and tells its errors to a person."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from genuq import machine
from genuq.cli.commands import COMMANDS
from genuq.cli.console import complain
from genuq.errors import GenuqError

REFUSED = 2  # exit status of what was typed wrongly, as argparse has it


def main() -> None:
    """Entry point of `genuq`."""
    arguments = sys.argv[1:]
    name = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "run"
    sys.exit(subcommand(name, arguments))


def table() -> None:
    """Entry point of `genuq-table`."""
    sys.exit(subcommand("table", sys.argv[1:]))


def dashboard() -> None:
    """Entry point of `genuq-dashboard`."""
    sys.exit(subcommand("dashboard", sys.argv[1:]))


def bench() -> None:
    """Entry point of `genuq-bench`."""
    sys.exit(subcommand("bench", sys.argv[1:]))


def subcommand(name: str, arguments: Sequence[str]) -> int:
    """Run a sub-command; returns the exit status, 2 where it was asked for what cannot be."""
    machine.prepare()
    try:
        return importlib.import_module(COMMANDS[name].module).main(list(arguments))
    except GenuqError as error:
        complain(error)
        return REFUSED
