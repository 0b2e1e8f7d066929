"""The command `genuq-table`: the tables and figures of a study, from the records of its runs.

`genuq-table experiments/NAME` reads experiments/NAME/study.yaml and the store, and writes table.md, table.tex,
table.csv and figure-*.pdf|svg into the study's folder (or --out), and missing.txt where runs are missing.
`genuq-table --scores FILE` filters and plots the score table of one run, however many samples it has.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from genuq import files
from genuq.errors import ConfigurationError, GenuqError
from genuq.report.latex import table_latex
from genuq.report.study_figures import study_figures
from genuq.report.study_text import table_csv, table_markdown
from genuq.report.style import pdf, svg
from genuq.stages.app import complain
from genuq.stages.records import read_records
from genuq.studies.collect import curves_of, table_of
from genuq.studies.declaration import read_study
from genuq.studies.grid import matched
from genuq.studies.score_tables import tabulate_scores


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


def tabulate(folder: Path, store: Path, out: Path, figures: bool = True) -> list[Path]:
    """Write a study's tables and figures; returns their paths, the Markdown first.

    Raises:
        ConfigurationError: study.yaml is wrong, or asks for what no run has.
        ArtefactError: a broken record.
    """
    study = read_study(folder)
    found = matched(study.jobs, read_records(store, study.name), store)
    table = table_of(study, found, store)
    texts = {"table.md": table_markdown(table), "table.tex": table_latex(table), "table.csv": table_csv(table)}
    missing = out / "missing.txt"
    missing.unlink(missing_ok=True)
    if table.missing:
        texts[missing.name] = "\n".join(table.missing) + "\n"
    for name, text in texts.items():
        files.write_text(out / name, text)
    drawn = study_figures(table, curves_of(study, found, store)) if figures else {}
    for name, figure in drawn.items():
        files.write_text(out / f"{name}.svg", svg(figure))
        files.write_bytes(out / f"{name}.pdf", pdf(figure))
        texts |= {f"{name}.svg": "", f"{name}.pdf": ""}
    return [out / name for name in texts]
