"""The command `genuq`: finds the sub-command, `run` where none is named, and tells its errors to a person."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Sequence

from genuq import machine
from genuq.cli.commands import COMMANDS
from genuq.cli.console import complain
from genuq.errors import ConfigurationError, GenuqError

REFUSED = 2  # exit status of what was typed wrongly, as argparse has it
# What the file system says of a place that was typed, rather than of genuq or of the disk.
OF_THE_PLACE = (errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR)


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
    except OSError as error:
        if error.errno not in OF_THE_PLACE or error.filename is None:
            raise
        complain(ConfigurationError(f"'{error.filename}': {error.strerror}. Give another place."))
    return REFUSED
