"""The whole job beside what a user would do instead: the published procedures, other libraries, an earlier genuq.

Each part is measured in interleaved rounds on this machine; ratios are of medians of seconds of CPU, which waiting for
a core that others use does not change. Every record has what, side, seconds, cpu_seconds, peak_bytes, evaluations,
ratio, over, target, met, reason and values. What cannot be measured has its reason.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from genuq import files
from genuq.bench import baseline, beside_published, evaluation, metric_peers, page, posteriors, scoring, streaming
from genuq.bench.cases import CASES, QUICK, Case
from genuq.bench.machine import machine
from genuq.bench.rows import OURS, Record, Row, aimed, not_run, table
from genuq.errors import ConfigurationError, GenuqError, did_you_mean

__all__ = ["HELP", "PARTS", "configure", "run", "table"]

HELP = "the whole job beside the published procedures, other libraries and an earlier genuq, with its targets"
LARGE = (50_000, 2048)  # samples and features of a study's size
FASTER = 6  # times as fast as prdc
SMALL = "small sizes: --quick"
MISSED = {  # what there is to say where a target is missed
    "exact": "the sums are a matrix product of 9 C x 9 C for every batch, beside a trunk this small",
    "kfac": "a forward and a backward pass are 3, and the factors of every layer are products of their own",
    "variance": "a triangular product a position; the data determine all directions, so none may be left out",
    "growth": "nearest neighbours are of all pairs",
    "features": "its curves' FIDs, and neighbours for each subset, come beside the metrics of the whole",
    "prdc": "both are matrix products, prdc's three in float64, of which genuq does two in float32: 3 at best",
}
Part = Callable[[argparse.Namespace], list[Row]]


def configure(command: argparse.ArgumentParser) -> None:
    command.add_argument("--parts", help=f"which of {','.join(PARTS)}, or '' for none (default: all)")
    command.add_argument("--rounds", type=int, help="interleaved, of the medians (default: 3, quick 1)")
    command.add_argument("--peers", action="store_true", help="beside other libraries too; one not installed says so")
    command.add_argument("--baseline", metavar="WHEEL_OR_PYTHON", help="an earlier genuq to run the stages with")
    command.add_argument("--earlier", type=Path, nargs="+", default=[], metavar="FILE", help="records to put in front")
    command.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")


def run(arguments: argparse.Namespace) -> list[Record]:
    """The records of earlier measurements that were named, then those of every part.

    Raises:
        ConfigurationError: no such part, or a baseline that cannot be run.
        GenuqError: a file of records that cannot be read or written.
    """
    chosen = _chosen(arguments.parts)
    if arguments.markdown and not arguments.markdown.absolute().parent.is_dir():
        raise GenuqError(f"--markdown {arguments.markdown}: there is no such folder. Make it first.")
    records = [record for path in arguments.earlier for record in files.read_json(path)]
    if arguments.baseline and "stages" in chosen:
        baseline.require(arguments.baseline)
    for part in chosen.values():
        records += [row.record | machine() for row in part(arguments)]
    if arguments.markdown:
        files.write_text(arguments.markdown, table(records) + "\n")
    return records


def _chosen(names: str | None) -> Mapping[str, Part]:
    if names is None:
        return PARTS
    wanted = [name for name in names.split(",") if name]
    for name in wanted:
        if name not in PARTS:
            raise ConfigurationError(f"--parts {name}: there is no such part." + did_you_mean(name, PARTS))
    return {name: PARTS[name] for name in wanted}


def _rounds(arguments: argparse.Namespace) -> int:
    return arguments.rounds or (1 if arguments.quick else 3)


def scores(arguments: argparse.Namespace) -> list[Row]:
    """The default score, and the guidance gap, over plain sampling."""
    return scoring.default_scores(64 if arguments.quick else 512, _rounds(arguments))


def regenerations(arguments: argparse.Namespace) -> list[Row]:
    """Full regenerations by each engine over as many plain samplings."""
    if arguments.quick:
        return scoring.regenerations(8, 1, ["float32"])
    return scoring.regenerations(64, _rounds(arguments))


def stages(arguments: argparse.Namespace) -> list[Row]:
    """The stages of a run by this genuq and by the earlier one."""
    return baseline.rows(arguments.baseline, arguments.quick, _rounds(arguments))


def published(arguments: argparse.Namespace) -> list[Row]:
    """The published procedures and genuq."""
    if not arguments.peers:
        return beside_published.without(beside_published.NOT_ASKED)
    size = beside_published.QUICK if arguments.quick else beside_published.FULL
    return beside_published.rows(replace(size, rounds=_rounds(arguments)))


def fits(arguments: argparse.Namespace) -> list[Row]:
    """Fits and closed-form variances over forward passes, from the benchmark of posteriors."""
    cases = QUICK if arguments.quick else {name: CASES[name] for name in ("48", "96", "128", "192", "256")}
    return [row for case in cases.values() for row in _of_head(case, _rounds(arguments))]


def _of_head(case: Case, rounds: int) -> list[Row]:
    kinds = ["exact_laplace", "kfac"] if case.whole_network else ["exact_laplace"]
    records = {record["posterior"]: record for record in posteriors.ours(case, kinds, rounds)}
    exact = records["exact_laplace"]
    variance = Row(
        f"closed-form variance of the exact posterior, {case.head}",
        ratio=exact["variance_over_head_forward"],
        over="head forward",
    )
    found = [
        aimed(_over_forward(f"exact last-layer fit, {case.head}", exact), 1.08, MISSED["exact"]),
        aimed(variance, 6.0, MISSED["variance"]),
    ]
    if "kfac, all" in records:
        fit = _over_forward(f"KFAC fit of all layers, {case.head}", records["kfac, all"])
        found.append(aimed(fit, 3.5, MISSED["kfac"]))
    return found


def _over_forward(what: str, record: Record) -> Row:
    """Ratios of wall-clock medians: a batch takes less than a turn of the scheduler."""
    seconds = record["fit_over_forward"] * record["forward_seconds"]
    peak, ratio = record["fit_peak_bytes"], record["fit_over_forward"]
    return Row(what, OURS, seconds, None, peak, record["images"], ratio, "forward pass")


def growth(arguments: argparse.Namespace) -> list[Row]:
    """The evaluation of points at 2,000 and 10,000."""
    sizes = [150, 300] if arguments.quick else [2000, 10_000]
    found = evaluation.compared([evaluation.Case(OURS, evaluation.POINTS, size, 2) for size in sizes], 1)
    small, large = (_of_evaluation(record) for record in found)
    return [small, replace(large, reason=SMALL) if arguments.quick else aimed(large, 6.0, MISSED["growth"])]


def features(arguments: argparse.Namespace) -> list[Row]:
    """The evaluation of features, two replicates a curve, over the metrics alone, at a study's size: half an hour."""
    count, dimension = (200, 64) if arguments.quick else LARGE
    works = (evaluation.ALONE, evaluation.WHOLE)
    found = evaluation.compared([evaluation.Case(OURS, work, count, dimension) for work in works], 1)
    alone, whole = (_of_evaluation(record) for record in found)
    return [alone, replace(whole, reason=SMALL) if arguments.quick else aimed(whole, 2.0, MISSED["features"])]


def metrics(arguments: argparse.Namespace) -> list[Row]:
    """FID and neighbourhood metrics of the same features by genuq and, with --peers, by other libraries."""
    size, dimension = (200, 64) if arguments.quick else (8000, 2048)
    return [
        row for kind in (metric_peers.FID, metric_peers.MANIFOLD) for row in _of_kind(kind, size, dimension, arguments)
    ]


def _of_kind(kind: str, size: int, dimension: int, arguments: argparse.Namespace) -> list[Row]:
    libraries = list(metric_peers.MODULES) if arguments.peers else []
    absent = {name: metric_peers.missing(name) or metric_peers.lacking(kind, name) for name in libraries}
    sides = [OURS, *(name for name in libraries if absent[name] is None)]
    cases = [evaluation.Case(side, kind, size, dimension) for side in sides]
    measured = [_of_evaluation(record) for record in evaluation.compared(cases, 1)]
    reasons = [not_run(cases[0].what, reason, name) for name, reason in absent.items() if reason]
    return [*(measured if kind == metric_peers.FID else _beside_prdc(measured, arguments.quick)), *reasons]


def _beside_prdc(rows: Sequence[Row], quick: bool) -> list[Row]:
    """genuq's own row with its ratio to prdc where that was measured, the other sides' with theirs to genuq."""
    ours, *others = rows
    prdc = next((row for row in others if row.side == "prdc"), None)
    if prdc is None or not prdc.ratio:
        return [*rows]
    memory = (ours.peak_bytes or 0) / (prdc.peak_bytes or 1)
    ours = replace(ours, ratio=1 / prdc.ratio, over="prdc", values={**ours.values, "memory of prdc's": memory})
    return [replace(ours, reason=SMALL) if quick else aimed(ours, 1 / FASTER, MISSED["prdc"]), *others]


def _of_evaluation(record: Mapping[str, Any]) -> Row:
    first = record["ratio"] == 1.0
    ratio, over = (None, None) if first else (record["ratio"], "the first")
    names = ("what", "side", "seconds", "cpu_seconds", "peak_bytes", "values")
    return Row(**{name: record[name] for name in names}, ratio=ratio, over=over)


def report(arguments: argparse.Namespace) -> list[Row]:
    """The page of a run of many samples, which shows an even selection of them."""
    return page.rows(500 if arguments.quick else 50_000, _rounds(arguments))


def memory(arguments: argparse.Namespace) -> list[Row]:
    """What each stage holds as points of the mixture grow."""
    return streaming.rows((50, 200) if arguments.quick else streaming.SIZES)


# The rows of the table, in their order. A part is a function of the arguments.
PARTS: dict[str, Part] = {
    part.__name__: part
    for part in (scores, regenerations, stages, published, fits, growth, features, metrics, report, memory)
}
