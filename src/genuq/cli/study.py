"""`genuq study`: one page for all runs of a study."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from genuq import files
from genuq.report.drawing.marks import marking
from genuq.report.study import page as study_page
from genuq.store.scales import at_scale, scale_of, warning_of
from genuq.studies.declaration import FILE, read_study
from genuq.studies.page import STORE, STUDIES, build_study
from genuq.studies.scales import chosen_scale


def main(arguments: Sequence[str]) -> int:
    """Write the page and say where; returns the exit status."""
    given = parser().parse_args(arguments)
    declared = read_study(given.study) if os.path.isfile(Path(given.study) / FILE) else None
    name = declared.name if declared else given.study
    name = at_scale(name, chosen_scale(given.store, name, given.scale))
    out = given.out or STUDIES / name / "index.html"
    command = shlex.join(["genuq", "study", *arguments])
    study = replace(build_study(given.store, name, out.parent, declared), page_command=command)
    with marking(warning_of(scale_of(name))):
        page = study_page.render(study)
    files.write_text(out, page)
    print(f"{len(study.runs):,} runs, {len(page.encode()) / 1e6:.1f} MB. Open {out}")
    return 0


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        "genuq study",
        description="Write one self-contained HTML page of all runs of a study: a table to sort and filter, the "
        "retention curves of all methods, and score against realism with the samples' images.",
        epilog=f"A folder's {FILE} says the study's question and which runs it asks for; the page then tells what is "
        "not there, and leaves out what was not asked for.",
    )
    whole.add_argument(
        "study",
        metavar="STUDY",
        help=f"its name, as given to its runs (study=NAME; else the sweep's name), or its folder with a {FILE}",
    )
    whole.add_argument("--store", type=Path, default=STORE, help="where the artefacts lie (default: %(default)s)")
    whole.add_argument("--scale", help="of the runs, full or smoke (default: full, where there are any)")
    whole.add_argument("--out", type=Path, help=f"the file to write (default: {STUDIES}/NAME/index.html)")
    return whole
