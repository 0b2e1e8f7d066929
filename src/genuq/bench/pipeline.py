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
from genuq.bench.rows import OURS, Record, Row, not_run, table
from genuq.errors import ConfigurationError, GenuqError, did_you_mean

__all__ = ["HELP", "PARTS", "configure", "run", "table"]

HELP = "the whole job beside the published procedures, other libraries and an earlier genuq, with its targets"
LARGE = f"{evaluation.WHOLE}, N = 50,000, D = 2,048"
MET = 6  # times as fast as prdc
Part = Callable[[argparse.Namespace], list[Row]]


def configure(command: argparse.ArgumentParser) -> None:
    command.add_argument("--parts", help=f"which of {','.join(PARTS)}, separated by commas (default: all)")
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
    for name in names.split(","):
        if name not in PARTS:
            raise ConfigurationError(f"--parts {name}: there is no such part." + did_you_mean(name, PARTS))
    return {name: PARTS[name] for name in names.split(",")}


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
    found = [
        _over_forward(f"exact last-layer fit, {case.head}", exact, target=1.08),
        Row(
            f"closed-form variance of the exact posterior, {case.head}",
            ratio=exact["variance_over_head_forward"],
            over="head forward",
            target=6.0,
        ),
    ]
    if "kfac, all" in records:
        found.append(_over_forward(f"KFAC fit of all layers, {case.head}", records["kfac, all"], target=3.5))
    return found


def _over_forward(what: str, record: Record, target: float) -> Row:
    """Ratios of wall-clock medians: a batch takes less than a turn of the scheduler."""
    seconds = record["fit_over_forward"] * record["forward_seconds"]
    peak, ratio = record["fit_peak_bytes"], record["fit_over_forward"]
    return Row(what, OURS, seconds, None, peak, record["images"], ratio, "forward pass", target)


def growth(arguments: argparse.Namespace) -> list[Row]:
    """The evaluation of points at 2,000 and 10,000, and why not at 50,000 x 2,048."""
    sizes = [150, 300] if arguments.quick else [2000, 10_000]
    found = evaluation.compared([evaluation.Case(OURS, evaluation.POINTS, size, 2) for size in sizes], 1)
    small, large = (_of_evaluation(record) for record in found)
    large = replace(large, target=6.0, reason="small sizes: --quick" if arguments.quick else None)
    never = "not run: each of over a thousand replicates of its curves is a whole FID, of a 2,048 x 2,048 matrix"
    return [small, large, not_run(LARGE, never, target=2.0)]


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
    return [*_over_peers(measured, kind), *reasons]


def _over_peers(rows: Sequence[Row], kind: str) -> list[Row]:
    """genuq's own row with its ratio to prdc, the other sides' with theirs to genuq."""
    ours, *others = rows
    prdc = next((row for row in others if row.side == "prdc"), None)
    if kind == metric_peers.MANIFOLD and prdc is not None and prdc.ratio:
        smaller = (prdc.peak_bytes or 0) / (ours.peak_bytes or 1)
        ours = replace(ours, ratio=1 / prdc.ratio, over="prdc", target=1 / MET, reason=f"memory: 1/{smaller:.1f}")
    return [ours, *others]


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
    part.__name__: part for part in (scores, regenerations, stages, published, fits, growth, metrics, report, memory)
}
