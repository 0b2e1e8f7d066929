"""What a benchmark of whole jobs leaves of each side of each comparison: one flat record, whoever's side it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from genuq.bench.memory import peak_bytes
from genuq.bench.timing import median, spent_in_turn
from genuq.models import GenerativeModel, metered
from genuq.report.drawing.markdown import table_lines
from genuq.report.drawing.values import decimals

Record = dict[str, Any]
OURS, BASELINE = "genuq", "baseline"


@dataclass(frozen=True)
class Row:
    """One side of a comparison.

    Attributes:
        what: is done, by all sides alike.
        side: `genuq`, `baseline` (an earlier genuq) or the name of another library.
        seconds, cpu_seconds: medians over interleaved rounds.
        peak_bytes: most bytes held beyond those held before.
        evaluations: of the network, rows through it.
        ratio: of its seconds of CPU to those of `over`, or the number that `unit` names.
        over: what it is a ratio to.
        target: of the ratio, no more than that.
        reason: why it was not measured, or misses its target, or what there is to know.
        values: numbers that it found, for the sides to be compared by.
    """

    what: str
    side: str = OURS
    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_bytes: int | None = None
    evaluations: float | None = None
    ratio: float | None = None
    over: str | None = None
    target: float | None = None
    reason: str | None = None
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none, or nothing was measured."""
        return None if self.target is None or self.ratio is None else self.ratio <= self.target

    @property
    def record(self) -> Record:
        return asdict(self) | {"met": self.met}


def not_run(what: str, reason: str, side: str = OURS, target: float | None = None) -> Row:
    """A row of something that was not measured, with the reason."""
    return Row(what, side, target=target, reason=reason)


Found = Callable[[], Mapping[str, float]]
NONE: Mapping[str, str] = {}


def side_by_side(
    work: Mapping[str, Found], rounds: int, model: GenerativeModel, parts: float = 1.0, sides: Mapping[str, str] = NONE
) -> list[Row]:
    """A row for each piece of work, each with its ratio to the first one.

    A first round, which is not timed, counts evaluations and bytes.

    Args:
        work: by name; returns the numbers that it found.
        model: whose network it evaluates; other models of the same network are not counted.
        parts: how many times the first one ratios are to.
        sides: of work that is not genuq's, by name.
    """
    first = {name: _counted(piece, model) for name, piece in work.items()}
    taken = spent_in_turn(work, rounds, warm=False)
    rows = [
        replace(first[name], what=name, side=sides.get(name, OURS), **median(taken[name])._asdict()) for name in work
    ]
    base = rows[0].cpu_seconds
    assert base is not None
    return [
        rows[0],
        *(replace(row, ratio=(row.cpu_seconds or 0) / (parts * base), over="the first") for row in rows[1:]),
    ]


def _counted(work: Found, model: GenerativeModel) -> Row:
    with metered(model) as meter:
        peak, values = peak_bytes(work)
    return Row("", peak_bytes=peak, evaluations=float(sum(meter.evaluations.values())), values=dict(values))


HEADS = ("what", "side", "s", "s of CPU", "peak, MiB", "evaluations", "ratio", "to", "target", "met", "")


def table(records: Sequence[Record]) -> str:
    """Markdown, a line for each record."""
    return "\n".join(table_lines(list(HEADS), [_cells(record) for record in records], text_columns=2))


def _cells(record: Record) -> list[str]:
    peak = None if record["peak_bytes"] is None else record["peak_bytes"] / 2**20
    numbers = ((record["seconds"], 2), (record["cpu_seconds"], 2), (peak, 1), (record["evaluations"], 0))
    shown = ["" if number is None else decimals(number, places) for number, places in numbers]
    target = "" if record["target"] is None else decimals(record["target"], 2)
    ratio = "" if record["ratio"] is None else decimals(record["ratio"], 2)
    met = {None: "", True: "yes", False: "no"}[record["met"]]
    return [record["what"], record["side"], *shown, ratio, record["over"] or "", target, met, _remark(record)]


def _remark(record: Record) -> str:
    found = ", ".join(f"{name} {value:.4g}" for name, value in record["values"].items())
    return "; ".join(part for part in (record["reason"], found) if part)
