"""`genuq table`: a study's tables and figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from genuq.cli.console import complain
from genuq.errors import ConfigurationError, GenuqError
from genuq.studies.score_tables import tabulate_scores
from genuq.studies.tables import tabulate


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    given = parser().parse_args(arguments)
    try:
        written = _written(given)
        Console().print(written[0].read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
        print("\n".join(map(str, written)))
    except GenuqError as error:
        complain(error)
        sys.exit(2)


def _written(given: argparse.Namespace) -> list[Path]:
    if given.scores is not None:
        if given.out is None:
            raise ConfigurationError("--scores: say with --out DIR where to write.")
        return tabulate_scores(given.scores, given.score, given.against, given.keep, given.out)
    if given.study is None:
        raise ConfigurationError("genuq-table: name a study's folder, experiments/NAME, or give --scores FILE.")
    return tabulate(given.study, given.store, given.out or given.study, given.figures)


def parser() -> argparse.ArgumentParser:
    summary, details = (__doc__ or "").split("\n\n", 1)
    whole = argparse.ArgumentParser("genuq-table", description=summary, epilog=details)
    whole.add_argument("study", type=Path, nargs="?", metavar="experiments/NAME", help="folder with a study.yaml")
    whole.add_argument("--store", type=Path, default=Path("outputs/store"), help="where the artefacts and records lie")
    whole.add_argument("--out", type=Path, help="folder to write into (default: the study's)")
    whole.add_argument("--no-figures", dest="figures", action="store_false", help="write the tables alone")
    one = whole.add_argument_group("the score table of one run")
    one.add_argument("--scores", type=Path, metavar="FILE", help="samples.safetensors or scores.safetensors of a run")
    one.add_argument("--score", help="column to filter by, higher is less trusted (default: entropy, or the first)")
    one.add_argument("--against", metavar="COLUMN", help="column that is averaged over what is kept (default: realism)")
    one.add_argument("--keep", type=float, default=0.5, help="fraction of the samples to keep (default: 0.5)")
    return whole
