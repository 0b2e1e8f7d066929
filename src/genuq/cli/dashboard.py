"""`genuq dashboard`: a study's workspace and report on Weights & Biases."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from genuq.store.remote import store_folder
from genuq.studies.dashboard import (
    ACCOUNT,
    YOURS,
    default_entity,
    entity_of,
    read,
    require_package,
    specification,
    written,
)
from genuq.studies.dashboard_content import board_of


def main(arguments: Sequence[str]) -> int:
    """Write workspace and report, and print where they are; returns the exit status.

    Raises:
        GenuqError: a missing package, study or account.
    """
    chosen = parser().parse_args(arguments)
    require_package()
    study, records, table = read(chosen.study, store_folder(chosen.store))
    known = chosen.entity or entity_of(records) or os.environ.get("WANDB_ENTITY")
    board = board_of(study, records, known or YOURS, chosen.project, table)
    if chosen.dry_run:
        print(specification(board), end="")
    else:
        board = board if known else replace(board, entity=default_entity())
        print("\n".join(written(board, store_folder(chosen.store)).values()))
    return 0


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        "genuq dashboard",
        description=f"{__doc__} {ACCOUNT}",
        epilog="Offline runs are uploaded with `wandb sync FOLDER/logs/wandb/offline-run-*`, FOLDER being a run's.",
    )
    whole.add_argument("study", metavar="STUDY", help="name of the study, or its folder with a study.yaml")
    whole.add_argument("--store", type=Path, default=Path("outputs/store"), help="of its runs (default: %(default)s)")
    whole.add_argument("--entity", help="owner of the project (default: that of the runs, or yours)")
    whole.add_argument("--project", help="of the runs (default: the one that they were logged to)")
    whole.add_argument("--dry-run", action="store_true", help="print what would be written, as YAML")
    return whole
