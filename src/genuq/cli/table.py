"""`genuq table`: a study's tables and figures, from the records of its runs.

It reads experiments/NAME/study.yaml and the store, and writes table.md, table.tex, table.csv and figure-*.pdf|svg into
the study's folder (or --out), and missing.txt where runs are missing. Runs at scale=smoke have a table of their own, in
the folder smoke, with each cell and figure marked: where there are no others, or with --scale smoke. With --scores FILE
it filters and plots the score table of one run, however many samples it has.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from genuq.errors import ConfigurationError
from genuq.store.remote import store_folder
from genuq.studies.score_tables import tabulate_scores
from genuq.studies.tables import tabulate


def main(arguments: Sequence[str]) -> int:
    """Write tables and figures, and print the first; returns the exit status.

    Raises:
        GenuqError: no such study, scores or column, or a broken record.
    """
    written = _written(parser().parse_args(arguments))
    Console().print(written[0].read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
    print("\n".join(map(str, written)))
    return 0


def _written(given: argparse.Namespace) -> list[Path]:
    if given.scores is not None:
        if given.out is None:
            raise ConfigurationError("--scores: say with --out DIR where to write.")
        return tabulate_scores(given.scores, given.score, given.against, given.keep, given.out)
    if given.study is None:
        raise ConfigurationError("genuq table: name a study's folder, experiments/NAME, or give --scores FILE.")
    return tabulate(given.study, store_folder(given.store), given.out, given.figures, given.scale)


def parser() -> argparse.ArgumentParser:
    summary, details = (__doc__ or "").split("\n\n", 1)
    whole = argparse.ArgumentParser("genuq table", description=summary, epilog=details)
    whole.add_argument("study", type=Path, nargs="?", metavar="experiments/NAME", help="folder with a study.yaml")
    whole.add_argument("--store", type=Path, default=Path("outputs/store"), help="where the artefacts and records lie")
    whole.add_argument("--out", type=Path, help="folder to write into (default: the study's)")
    whole.add_argument("--scale", help="of the runs, full or smoke (default: full, where there are any)")
    whole.add_argument("--no-figures", dest="figures", action="store_false", help="write the tables alone")
    one = whole.add_argument_group("the score table of one run")
    one.add_argument("--scores", type=Path, metavar="FILE", help="samples.safetensors or scores.safetensors of a run")
    one.add_argument("--score", help="column to filter by, higher is less trusted (default: entropy, or the first)")
    one.add_argument("--against", metavar="COLUMN", help="column that is averaged over what is kept (default: realism)")
    one.add_argument("--keep", type=float, default=0.5, help="fraction of the samples to keep (default: 0.5)")
    return whole
