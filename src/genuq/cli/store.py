"""`genuq store`: what lies in the store, whether it is whole, and what no run needs any more."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from genuq.cli.console import in_units
from genuq.display import Display
from genuq.errors import ConfigurationError
from genuq.store.artefact import MANIFEST
from genuq.store.cached import forget_unheld
from genuq.store.store import Store, Stored

DESCRIPTION = """Every artefact of every run lies in the store once, in STAGE/HASH: the hash of all that it depends on.
A run's folder holds links to its artefacts, and a study's runs have records in the store."""


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 where `verify` finds something broken.

    Raises:
        GenuqError: no such store or artefact.
    """
    chosen = parser().parse_args(arguments)
    return chosen.do(Store(chosen.store), chosen)


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser("genuq store", description=DESCRIPTION)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--store", type=Path, default=Path("outputs/store"), help="default: %(default)s")

    listing = commands.add_parser("list", parents=[shared], help="all artefacts: stage, size, age, runs")
    listing.add_argument("--stage", help="only those of one stage")
    listing.add_argument("--study", help="only those of one study's runs")
    listing.set_defaults(do=list_artefacts)

    showing = commands.add_parser("show", parents=[shared], help="the manifest of one artefact")
    showing.add_argument("artefact", help="STAGE/HASH, or the beginning of the hash")
    showing.set_defaults(do=show)

    checking = commands.add_parser("verify", parents=[shared], help="read every file and compare its sha256")
    checking.set_defaults(do=check)

    pruning = commands.add_parser(
        "prune",
        parents=[shared],
        help="what belongs to no run, or to runs whose folders are gone",
        description="Lists what belongs to no run, or only to runs whose folders were deleted; --yes deletes it.",
    )
    pruning.add_argument("--yes", action="store_true", help="delete it")
    pruning.set_defaults(do=prune)
    return whole


def list_artefacts(store: Store, chosen: argparse.Namespace) -> int:
    found = [artefact for artefact in store.artefacts() if chosen.stage in (None, artefact.stage)]
    if chosen.study:
        found = [artefact for artefact in found if any(run.startswith(f"{chosen.study}/") for run in artefact.runs)]
    table = Table("artefact", "size", "made", "runs", box=None, pad_edge=False)
    for artefact in found:
        table.add_row(
            f"{artefact.stage}/{artefact.path.name[:12]}", in_units(artefact.bytes), age(artefact), runs(artefact)
        )
    console = Console(markup=False)
    console.print(table)
    console.print(f"{len(found)} artefacts, {in_units(sum(artefact.bytes for artefact in found))}", highlight=False)
    return 0


def runs(artefact: Stored) -> str:
    """The first run, and how many there are."""
    if not artefact.runs:
        return "none"
    return artefact.runs[0] + (f" and {len(artefact.runs) - 1} more" if len(artefact.runs) > 1 else "")


def age(artefact: Stored) -> str:
    if not artefact.is_finished:
        return "unfinished"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime((artefact.path / MANIFEST).stat().st_mtime))


def show(store: Store, chosen: argparse.Namespace) -> int:
    artefact = store.find(chosen.artefact)
    if not artefact.is_finished:
        raise ConfigurationError(f"{artefact.name} is unfinished: it has no manifest. Run its command again.")
    print(f"{artefact.path}\nruns: {', '.join(artefact.runs) or 'none'}")
    manifest = {key: value for key, value in artefact.manifest().items() if key != "stat"}
    print(json.dumps(manifest, indent=2))
    return 0


def check(store: Store, chosen: argparse.Namespace) -> int:
    display = Display()
    with display.bar("verifying", len(store.paths())) as advance:
        broken = store.broken(lambda name: advance(1))
    for message in broken:
        display.say(f"broken: {message}")
    display.say("Everything is whole." if not broken else f"{len(broken)} broken.")
    return 1 if broken else 0


def prune(store: Store, chosen: argparse.Namespace) -> int:
    abandoned, renamed = store.abandoned_records(), store.renamed()
    for path, folder in renamed.items():
        print(f"{path.relative_to(store.root)}  kept: its run lies in {folder} now. Rename it back, or delete it.")
    found = store.unused(without=abandoned)
    for artefact in found:
        print(f"{artefact.name}  {in_units(artefact.bytes)}  {age(artefact)}")
    for path in abandoned:
        print(f"{path.relative_to(store.root)}  the record of a run whose folder is gone")
    total = in_units(sum(artefact.bytes for artefact in found))
    if not found and not abandoned:
        print("Nothing to delete: every artefact belongs to a run.")
    elif not chosen.yes:
        print(f"{len(found)} artefacts, {total}. Delete them with --yes.")
    else:
        for path in abandoned:
            path.unlink()
        for artefact in found:
            store.remove(artefact)
        forget_unheld(store.root)
        print(f"deleted {len(found)} artefacts, {total}")
    return 0
