"""`genuq plan`: what a run or a sweep will take, before it starts."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import shlex
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from genuq.cli.console import in_units, rounded_duration
from genuq.config import schemas
from genuq.config.compose import prepared
from genuq.planning.assumptions import assumptions_of
from genuq.planning.cards import CARDS, EFFICIENCY, LEAST, MOST, Card, card_of
from genuq.planning.history import TimeEstimate
from genuq.planning.holding import Held, memory_of
from genuq.planning.phases import phases_of
from genuq.planning.pilots import budget_words
from genuq.planning.plan import Disk, Needed, Plan, plan_of
from genuq.planning.simulation import ASSUMPTIONS, Cluster, Expected, by_workers, cluster_of

DESCRIPTION = """Takes the same overrides as genuq and makes nothing: it composes every job, and prints for each stage
which artefacts the store has and which will be made, with their network evaluations, time and disk; each artefact is
counted once, however many jobs need it. The exit status is 1 where a job would stop before it starts, or where the disk
is too small."""
NOTES = """An evaluation is one sample through the model's network, guidance takes two; passes backwards are counted for
themselves. Times are estimates for this machine: from artefacts of the same kind that runs in the store made here, else
from a calibration of at most about 20 seconds, else by a rule; the range in brackets is what to expect. With --card
they are those of another card, counted from its published peak and not measured. Images are not read through: the run
itself does that first. Weights of a pretrained pipeline are not read: its configurations are enough. With --simulate
the job is also simulated on 1, 2, 4, ... workers that fail; its assumptions are printed with it."""

OWN_FLAGS = ("--json", "--no-calibration")
CARD, SIMULATE = "--card", "--simulate"


def main(arguments: Sequence[str]) -> int:
    """The exit status.

    Raises:
        GenuqError: overrides that do not exist.
    """
    schemas.register()
    chosen = parser().parse_intermixed_args(arguments)  # -m may stand between the overrides
    card, typed = None if chosen.card is None else card_of(chosen.card), without_own_flags(arguments)
    cluster = None if chosen.simulate is None else cluster_of(chosen.simulate)
    overrides = prepared(chosen.overrides, chosen.config_dir)
    console = Console(stderr=chosen.json)
    with saying(console, "composing the jobs"):
        plan = plan_of(overrides, chosen.multirun, shlex.join([Path(sys.argv[0]).name, *typed]))
    with saying(console, "looking at the store's runs") as say:
        plan.estimate(not chosen.no_calibration, lambda what: say(f"measuring or counting: {what}"), card)
    simulated = [] if cluster is None else list(by_workers(phases_of(plan), cluster))
    if chosen.json:
        json.dump(as_data(plan) | simulation_as_data(cluster, simulated), sys.stdout, indent=2)
        print()
    else:
        show(plan, Console(markup=False))
        for line in simulation_in_words(plan, cluster, simulated):
            print(line)
    return 0 if all(disk.fits for disk in plan.disks()) and not any(job.error for job in plan.jobs) else 1


def without_own_flags(arguments: Sequence[str]) -> list[str]:
    """What the command of the run itself would be given."""
    kept, skip, with_value = [], False, (f"{CARD}=", f"{SIMULATE}=")
    for argument in arguments:
        if not skip and argument not in (*OWN_FLAGS, CARD, SIMULATE) and not argument.startswith(with_value):
            kept.append(argument)
        skip = not skip and argument in (CARD, SIMULATE)
    return kept


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser("genuq plan", description=DESCRIPTION, epilog=NOTES)
    whole.add_argument("overrides", nargs="*", help="those of genuq: group=option, group.key=value")
    whole.add_argument("-m", "--multirun", action="store_true", help="a sweep, as with genuq -m")
    whole.add_argument(
        *("-cd", "--config-dir"), action="append", default=[], metavar="DIR", help="folder of your own options"
    )
    whole.add_argument("--json", action="store_true", help="the same as data")
    whole.add_argument("--no-calibration", action="store_true", help="measure nothing: times from the store alone")
    whole.add_argument(CARD, metavar="NAME", help=f"times, GPU-hours and memory on another card: {', '.join(CARDS)}")
    whole.add_argument(SIMULATE, metavar="CLUSTER", help="the job on many workers that fail: workers=64,mtbf=24h")
    return whole


@contextlib.contextmanager
def saying(console: Console, what: str) -> Iterator[Callable[[str], None]]:
    """A line that says what is being done, where the output is a terminal."""
    with console.status(what) as status:
        yield status.update


# As data


def as_data(plan: Plan) -> dict[str, Any]:
    """The plan as plain data."""
    stages = {stage: stage_row(plan, stage) for stage in plan.stages}
    return {
        "jobs": [{"name": job.name, "error": job.error} for job in plan.jobs],
        "stages": stages,
        "total": {
            **{key: sum(row[key] for row in stages.values()) for key in ("needed", "exist", "to_make")},
            **{key: sum(row[key] for row in stages.values()) for key in ("evaluations", "backward", "bytes")},
            "seconds": time_of(plan, plan.to_make),
            **card_cells(plan, plan.to_make),
        },
        "disks": [
            {"store": str(d.store), "needed": d.needed, "peak": d.peak, "free": d.free, "fits": d.fits}
            for d in plan.disks()
        ],
        "not_measured": plan.failures,
        "assumed": assumptions_of(plan),
        "budgets": budgets_in_words(plan),
        "weights_not_read": [str(path) for path in plan.unread],
        "card": None if plan.card is None else dataclasses.asdict(plan.card),
        "memory": [dataclasses.asdict(one) for one in memory_of(plan)],
    }


def stage_row(plan: Plan, stage: str) -> dict[str, Any]:
    every = plan.of_stage(stage)
    new = [one for one in every if not one.exists]
    purposes: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for one in new:
        for purpose, (forward, backward) in one.work.evaluations.items():
            purposes[purpose][0] += one.left * forward
            purposes[purpose][1] += one.left * backward
    return {
        "needed": len(every),
        "exist": len(every) - len(new),
        "to_make": len(new),
        "jobs": sum(one.jobs for one in every),
        "evaluations": sum(forward for forward, _ in purposes.values()),
        "backward": sum(backward for _, backward in purposes.values()),
        "purposes": {name: {"evaluations": a, "backward": b} for name, (a, b) in purposes.items()},
        "seconds": time_of(plan, new),
        **card_cells(plan, new),
        "bytes": sum(one.bytes for one in new),
        "artefacts": [
            {"name": one.name, "path": str(one.folder.path), "exists": one.exists, "jobs": one.jobs} for one in every
        ],
    }


def time_of(plan: Plan, artefacts: Sequence[Needed]) -> dict[str, Any]:
    """The sum of their times; `unknown` counts those that nothing tells."""
    found: list[TimeEstimate] = [plan.estimates[one.folder.path] for one in artefacts]
    known = [one for one in found if one.seconds is not None]
    return {
        "value": sum(one.seconds or 0.0 for one in known),
        "low": sum(one.low for one in known),
        "high": sum(one.high for one in known),
        "unknown": len(found) - len(known),
        "how": sorted({one.how for one in found}),
    }


def card_cells(plan: Plan, artefacts: Sequence[Needed]) -> dict[str, Any]:
    """Operations, and hours of cards, as far as they are known, where a card was named."""
    if plan.card is None:
        return {}
    operations = [plan.operations[one.folder.path] or 0.0 for one in artefacts]
    busy = [one for one in artefacts if plan.operations[one.folder.path] != 0]
    hours = [(plan.estimates[one.folder.path].seconds or 0.0) * one.run.processes / 3600 for one in busy]
    return {"operations": sum(operations), "gpu_hours": sum(hours)}


# As a table

HEADINGS = ("stage", "needed", "exist", "to make", "evaluations", "backward", "time", "range", "disk", "times from")
OF_CARD = ("operations", "GPU-hours")
WORDS = ("stage", "times from")
SIMULATED = (7, 10, 22, 8, 10, 10, 8)  # widths of the columns of a simulation
NARROWEST = 145  # columns of a line, where the output is no terminal


def show(plan: Plan, console: Console) -> None:
    if not console.is_terminal:
        console.width = max(console.width, NARROWEST)
    data = as_data(plan)
    table = Table(box=None, pad_edge=False)
    for heading in (*HEADINGS[:-1], *(OF_CARD if plan.card else ()), HEADINGS[-1]):
        table.add_column(heading, justify="left" if heading in WORDS else "right", no_wrap=heading != "times from")
    for stage, row in data["stages"].items():
        table.add_row(stage, *cells(row), ", ".join(row["seconds"]["how"]))
    table.add_row("all", *cells(data["total"]))
    planned = sum(job.error is None for job in plan.jobs)
    console.print(f"{planned} of {len(plan.jobs)} jobs" if planned < len(plan.jobs) else jobs_in_words(planned))
    console.print(table)
    for line in [
        *budgets_in_words(plan),
        *map(disk_in_words, plan.disks()),
        *words_of_card(plan),
        *words_of_unread(plan),
    ]:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    for name, reason in plan.failures.items():
        console.print(f"could not be measured: {name} ({reason})", highlight=False, soft_wrap=True, markup=False)
    for line in data["assumed"]:
        console.print(f"assumed: {line}", highlight=False, soft_wrap=True, markup=False)
    for reason, names in errors(plan).items():
        which = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        console.print(f"would stop before it starts: {which}: {reason}", highlight=False, soft_wrap=True, markup=False)


def budgets_in_words(plan: Plan) -> list[str]:
    """What sampling with a score will cost, where a pilot chooses."""
    return list(dict.fromkeys(filter(None, (budget_words(one.run) for one in plan.of_stage("pilot")))))


def jobs_in_words(count: int) -> str:
    return f"{count} job" if count == 1 else f"{count} jobs"


def cells(row: dict[str, Any]) -> list[str]:
    """Of a row, in the order of the headings."""
    counts = [str(row[key]) for key in ("needed", "exist", "to_make")]
    amounts = [in_thousands(row[key]) for key in ("evaluations", "backward")]
    disk = in_units(row["bytes"]) if row["to_make"] else ""
    return [*counts, *amounts, *time_in_words(row["seconds"]), disk, *cells_of_card(row)]


def cells_of_card(row: dict[str, Any]) -> list[str]:
    if "operations" not in row:
        return []
    hours = row["gpu_hours"]
    return [in_thousands(row["operations"]), f"{hours:.3g}" if hours else ""]


def in_thousands(count: float) -> str:
    for unit, size in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f}" if count else ""


def time_in_words(time: dict[str, Any]) -> tuple[str, str]:
    """An estimated time, and its range."""
    unknown = "unknown" if time["unknown"] else ""
    if not time["value"]:
        return unknown, ""
    more = f" + {unknown}" if unknown else ""
    return (
        f"~ {rounded_duration(time['value'])}{more}",
        f"{rounded_duration(time['low'])} to {rounded_duration(time['high'])}",
    )


def words_of_card(plan: Plan) -> Iterator[str]:
    """Whether the weights fit the card, and what the times on it are."""
    if plan.card is None:
        return
    for one in memory_of(plan):
        held = f"memory: {one.weights:,} weights in {one.precision}, {one.bytes / 1e9:.1f} GB with the autoencoder's, "
        yield f"{held}{fit_in_words(one, plan.card)}"
    yield (
        f"times on {plan.card.title}: counted, not measured: {EFFICIENCY:.0%} ({LEAST:.0%} to {MOST:.0%}) of its "
        f"published peak, {plan.card.half:g} (bfloat16) or {plan.card.single:g} (float32) TFLOP/s; loading, prompts "
        "and the reading of images come on top"
    )


def fit_in_words(one: Held, card: Card) -> str:
    """Whether weights fit a card."""
    if one.bytes > 1e9 * card.memory:
        return f"do not fit the {card.memory:g} GB of {card.title}. Choose model.precision=bfloat16, or a larger card."
    return f"fit the {card.memory:g} GB of {card.title}; what is computed with them comes on top"


def words_of_unread(plan: Plan) -> Iterator[str]:
    """What a plan without weights cannot know."""
    for path in plan.unread:
        yield f"weights not read: {path}. What the store already has of this model is not known: all is planned as new."


def simulation_as_data(cluster: Cluster | None, simulated: Sequence[Expected]) -> dict[str, Any]:
    if cluster is None:
        return {}
    rows = [dataclasses.asdict(one) for one in simulated]
    return {"simulation": {"cluster": dataclasses.asdict(cluster), "workers": rows, "assumptions": ASSUMPTIONS}}


def simulation_in_words(plan: Plan, cluster: Cluster | None, simulated: Sequence[Expected]) -> Iterator[str]:
    """A line for so many workers, what was simulated, and what it assumes."""
    if cluster is None:
        return
    yield ""
    headings = ("workers", "time", "5 % to 95 %", "speed-up", "efficiency", "lost", "failures")
    yield " ".join(f"{heading:>{width}}" for heading, width in zip(headings, SIMULATED))
    for one in simulated:
        between = f"{rounded_duration(one.low)} to {rounded_duration(one.high)}"
        lost = rounded_duration(one.lost) if one.lost else ""
        cells = (one.workers, rounded_duration(one.seconds), between, f"{one.speed_up:.1f}", f"{one.efficiency:.0%}")
        row = (*cells, lost, f"{one.failures:.3g}")
        yield " ".join(f"{cell:>{width}}" for cell, width in zip(row, SIMULATED))
    yield "simulated: " + ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in vars(cluster).items()
    )
    unknown = [one.name for one in plan.to_make if plan.estimates[one.folder.path].seconds is None]
    if unknown:
        yield f"without {', '.join(dict.fromkeys(unknown))}, whose time is not known"
    yield from (f"assumed: {each}" for each in ASSUMPTIONS)


def disk_in_words(disk: Disk) -> str:
    if disk.fits:
        return f"disk: at most {in_units(disk.peak)} more, {in_units(disk.free)} free in {disk.store}"
    return (
        f"does not fit: needs {in_units(disk.peak)}, {in_units(disk.free)} free: {disk.store}. Free some space "
        "(`genuq store prune` lists what no run needs any more), choose another disk (store=PATH), or ask for less "
        "(sampler.samples, posterior.draws, score.controls)."
    )


def errors(plan: Plan) -> dict[str, list[str]]:
    """The jobs that would stop, by reason."""
    found: dict[str, list[str]] = defaultdict(list)
    for job in plan.jobs:
        if job.error:
            found[job.error].append(job.name)
    return found
