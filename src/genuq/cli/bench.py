"""`genuq bench`: one benchmark a sub-command; records as JSON, a table for people.

A benchmark is a module with `HELP`, `configure(parser)`, `run(arguments) -> records` and `table(records) -> Markdown`.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from genuq import files
from genuq.errors import GenuqError

BENCHMARKS: tuple[str, ...] = (
    "evaluation",
    "pipeline",
    "posteriors",
    "propagators",
    "store",
    "tables",
)  # modules of this folder
Record = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Run a benchmark and print its table; returns the exit status.

    Raises:
        GenuqError: what was asked for cannot be, or a benchmark failed.
    """
    chosen = parser().parse_args(arguments)
    require_writable(chosen.json)
    benchmark = module(chosen.benchmark)
    records = benchmark.run(chosen)
    print(benchmark.table(records))
    if chosen.json:
        files.write_json(chosen.json, records)
    return 0


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser("genuq bench", description=__doc__.splitlines()[0])
    commands = whole.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    for name in BENCHMARKS:
        benchmark = module(name)
        command = commands.add_parser(name, help=benchmark.HELP, description=benchmark.__doc__)
        command.add_argument("--quick", action="store_true", help="smaller cases and fewer repeats: does it run?")
        command.add_argument("--json", type=Path, metavar="FILE", help="write the records there")
        benchmark.configure(command)
    return whole


def module(name: str) -> ModuleType:
    return importlib.import_module(f"genuq.bench.{name}")


def require_writable(path: Path | None) -> None:
    """Raise before the work starts, not after it, where the records could not be written."""
    if path is not None and not path.absolute().parent.is_dir():
        raise GenuqError(f"--json {path}: there is no folder {path.absolute().parent}. Make it first.")
