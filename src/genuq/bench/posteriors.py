"""What each posterior costs: fit, draw and predictive variance, against the network's own forward pass.

Ratios of medians over interleaved rounds in one process. Memory: `genuq.bench.memory`. With --peers, laplace-torch and
curvlinops on the same heads, data and machine.
"""

from __future__ import annotations

import argparse
import functools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from genuq.bench.cases import CASES, QUICK, Case
from genuq.bench.machine import machine
from genuq.bench.memory import peak_bytes
from genuq.bench.timing import Work, interleaved, ratio
from genuq.data import as_dataset
from genuq.errors import ConfigurationError, did_you_mean
from genuq.models import GenerativeModel
from genuq.posteriors import POSTERIORS, CurvaturePosterior, FitSettings, LastLayerPosterior, Posterior, Scale
from genuq.posteriors.curvature.layers import LayersPosterior
from genuq.posteriors.fitting.fitting import empty_posterior
from genuq.posteriors.fitting.passes import CurvaturePass
from genuq.posteriors.fitting.regression import RegressionBatch

HELP = "cost of fitting, drawing and predictive variances, for every posterior"

Record = dict[str, Any]
Empty = Callable[[], Posterior]

SCALE = Scale(n_effective=50_000, observation_noise=0.1, prior_precision=1.0)
WRONG = 1e-3  # relative error of a peer's curvature that the table mentions
MEMBERS = 3  # sets of weights for the posteriors that are fitted to them

# The options that each kind is measured with; kinds that are not named have none.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "diagonal_laplace": [{"convention": "ggn"}, {"convention": "empirical_fisher"}],
    "kfac": [{"layers": "head"}, {"layers": "all"}],
}
NO_FIT = {
    "weights": "its fit is the training of its members",
    "nothing": "fitted to no data",
}


def configure(command: argparse.ArgumentParser) -> None:
    command.add_argument("--heads", help=f"which of {','.join(CASES)}, separated by commas (default: all)")
    command.add_argument("--posteriors", help="which kinds, separated by commas (default: all)")
    command.add_argument("--rounds", type=int, default=None, help="how often everything is timed (default: 5, quick 2)")
    command.add_argument("--peers", action="store_true", help="laplace-torch and curvlinops too (genuq[peers])")
    command.add_argument("--peer-seconds", type=float, default=300.0, help="after which a peer's fit is given up")


def run(arguments: argparse.Namespace) -> list[Record]:
    """A record for each head and posterior, and for each peer.

    Raises:
        ConfigurationError: unknown heads or kinds, or `--peers` without them installed.
    """
    cases = _chosen(arguments.heads, QUICK if arguments.quick else CASES, "--heads")
    kinds = list(_chosen(arguments.posteriors, dict(POSTERIORS.items()), "--posteriors"))
    rounds = arguments.rounds or (2 if arguments.quick else 5)
    if arguments.peers:
        from genuq.bench import peers

        peers.require()
    records = []
    for case in cases.values():
        records += ours(case, kinds, rounds)
        if arguments.peers:
            records += peers.records(case, arguments.peer_seconds)
    return [{**record, **machine()} for record in records]


def _chosen(names: str | None, known: Mapping[str, Any], flag: str) -> Mapping[str, Any]:
    if names is None:
        return known
    for name in names.split(","):
        if name not in known:
            raise ConfigurationError(f"{flag} {name}: there is no such one." + did_you_mean(name, known))
    return {name: known[name] for name in names.split(",")}


def ours(case: Case, kinds: Sequence[str], rounds: int) -> list[Record]:
    """Every posterior on one head. All fits are timed in the same rounds, and all variances."""
    model, batch = case.model(), case.batch()
    bench = _Bench(case, model, batch, {label: empty for label, empty in _variants(case, model, kinds)})
    return bench.records(rounds)


def _variants(case: Case, model: GenerativeModel, kinds: Sequence[str]) -> Iterator[tuple[str, Empty]]:
    """(name with options, what makes an empty posterior) of all that are measured on this head."""
    dataset = as_dataset(2 * torch.rand(2, *model.shape, generator=torch.Generator().manual_seed(0)) - 1)
    for kind in kinds:
        for options in OPTIONS.get(kind, [{}]):
            over_network = POSTERIORS[kind].source == "images" and POSTERIORS[kind].scope == "network"
            if over_network and options.get("layers", "all") == "all" and not case.whole_network:
                continue
            settings = FitSettings(kind=kind, options=options)
            yield ", ".join([kind, *map(str, options.values())]), empty_posterior(model, dataset, [0, 1], settings)


class _Bench:
    """Measurements of several posteriors on one head."""

    def __init__(self, case: Case, model: GenerativeModel, batch: RegressionBatch, empty: Mapping[str, Empty]) -> None:
        self.case, self.model, self.batch, self.empty = case, model, batch, empty
        self.features = case.features()

    def records(self, rounds: int) -> list[Record]:
        passes = {label: CurvaturePass(empty) for label, empty in self.empty.items() if _streams(empty)}  # type: ignore[arg-type]
        fits: dict[str, Work] = {
            label: functools.partial(one.add, self.model, self.batch) for label, one in passes.items()
        }
        seconds = interleaved({"forward": self.forward, **fits}, rounds)
        fitted = {label: self._finalised(label, passes) for label in self.empty}
        variances: dict[str, Work] = {
            label: functools.partial(posterior.predictive_variance, self.features)
            for label, posterior in fitted.items()
            if posterior.closed_form
        }
        variance_seconds = interleaved({"head": self.head_forward, **variances}, rounds)
        forward_peak, _ = peak_bytes(self.forward)
        return [
            {
                "posterior": label,
                "head": self.case.head,
                "peer": None,
                "images": self.case.images,
                "forward_seconds": statistics.median(seconds["forward"]),
                "fit_over_forward": ratio(seconds, label, "forward") if label in passes else None,
                "fit_seconds": self._update_seconds(label, rounds),
                "fit_peak_bytes": self._fit_peak(label, forward_peak),
                "matrix_bytes": 8 * self.case.inputs**2,
                "draw_seconds": self._draw_seconds(posterior, rounds),
                "variance_over_head_forward": (
                    ratio(variance_seconds, label, "head") if posterior.closed_form else None
                ),
                "note": self._note(posterior),
            }
            for label, posterior in fitted.items()
        ]

    def forward(self) -> Tensor:
        """The trunk and the head alone."""
        with torch.no_grad():
            return self.model(self.batch.x, self.batch.t, self.batch.y)

    def head_forward(self) -> Tensor:
        with torch.no_grad():
            return self.model.head(self.features)

    def _finalised(self, label: str, passes: Mapping[str, CurvaturePass]) -> Posterior:
        """The posterior at one scale; one over members gets a few sets of weights first."""
        if label in passes:
            return passes[label].posteriors[0].finalise(SCALE)
        posterior = self.empty[label]()
        if posterior.source == "weights":
            for member in range(MEMBERS):
                posterior.update(self._member(member))
        return posterior.finalise(SCALE)

    def _member(self, number: int) -> dict[str, Tensor]:
        """A set of weights close to the network's."""
        source = torch.Generator().manual_seed(number)
        return {
            name: value.detach() * (1 + 0.01 * torch.randn(value.shape, generator=source))
            for name, value in self.model.network.named_parameters()
        }

    def _update_seconds(self, label: str, rounds: int) -> float | None:
        """Seconds to add a batch to the sums of a posterior over the head alone, its features given."""
        update = self._update_of(self.empty[label]())
        return None if update is None else statistics.median(interleaved({"update": update}, rounds)["update"])

    def _update_of(self, posterior: Posterior) -> Work | None:
        features, at_head, name = self.features, self.batch.target, self.model.head_name
        if isinstance(posterior, LastLayerPosterior):
            return functools.partial(posterior.update, features, at_head if posterior.needs == "residuals" else None)
        if isinstance(posterior, LayersPosterior) and posterior.layer_names == [name]:
            return functools.partial(posterior.update, {name: features}, {name: at_head})
        return None

    def _fit_peak(self, label: str, forward_peak: int) -> int | None:
        """Bytes that fitting takes above the forward pass: its sums included, the larger of two measures.

        Of the whole pass, beyond what the forward pass takes by itself; and, over the head, of an update beyond the
        features that it is given.
        """
        if not _streams(self.empty[label]):
            return None

        def whole() -> None:
            _pass(self.empty[label]).add(self.model, self.batch)

        def update() -> None:
            if (work := self._update_of(self.empty[label]())) is not None:
                work()

        return max(peak_bytes(whole)[0] - forward_peak, peak_bytes(update)[0])

    def _draw_seconds(self, posterior: Posterior, rounds: int) -> float:
        draws = min(rounds, MEMBERS - 1) if posterior.source == "weights" else rounds
        numbers = iter(range(draws + 1))
        return statistics.median(interleaved({"draw": lambda: posterior.draw(next(numbers))}, draws)["draw"])

    def _note(self, posterior: Posterior) -> str | None:
        if posterior.source != "images":
            return NO_FIT[posterior.source]
        return None if posterior.closed_form else "no closed form of the variance"


def _pass(empty: Empty) -> CurvaturePass:
    return CurvaturePass(empty)  # type: ignore[arg-type]  # only where `_streams`


def _streams(empty: Empty) -> bool:
    return isinstance(empty(), CurvaturePosterior)


COLUMNS = (
    "posterior",
    "fit / forward pass",
    "head's sums, ms",
    "fit's peak, MiB",
    "draw, ms",
    "variance / head",
    "time and memory over ours",
    "",
)


def table(records: Sequence[Record]) -> str:
    """Markdown, one table for each head."""
    parts = []
    for head in dict.fromkeys(record["head"] for record in records):
        rows = [record for record in records if record["head"] == head]
        lines = [f"### {head}, {rows[0]['images']} images a batch", "", _line(COLUMNS), "|---" * len(COLUMNS) + "|"]
        parts.append("\n".join(lines + [_line(_cells(record, rows)) for record in rows]))
    return "\n\n".join(parts)


def _cells(record: Record, rows: Sequence[Record]) -> list[str]:
    """A row of the table, from the record and the others of its head."""
    return [
        record["posterior"] if record["peer"] is None else f"{record['peer']}: {record['posterior']}",
        _number(record["fit_over_forward"], 3),
        _number(record["fit_seconds"], 2, 1e3),
        _number(record["fit_peak_bytes"], 1, 2**-20),
        _number(record["draw_seconds"], 2, 1e3),
        _number(record["variance_over_head_forward"], 1),
        "" if record["peer"] is None else _over_ours(record, rows),
        "; ".join(_remarks(record)),
    ]


def _over_ours(peer: Record, rows: Sequence[Record]) -> str:
    """How many times slower and larger the head's sums are than those of the posterior here that answers to them."""
    ours = next((row for row in rows if row["peer"] is None and row["posterior"] == peer["nearest"]), None)
    if ours is None or peer["fit_seconds"] is None:
        return ""
    slower, larger = (peer[key] / max(ours[key], 1e-9) for key in ("fit_seconds", "fit_peak_bytes"))
    return f"{slower:,.0f}, {larger:,.0f} ({ours['posterior']})"


def _remarks(record: Record) -> Iterator[str]:
    if record.get("error") is not None and record["error"] > WRONG:
        yield f"curvature off by {record['error']:.2g} of its size"
    if record["fit_seconds"] is None and record.get("needed_bytes"):
        yield f"holds a Jacobian of {record['needed_bytes'] / 2**30:.2f} GiB"
    if record["note"]:
        yield record["note"]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None, digits: int, factor: float = 1.0) -> str:
    return "" if value is None else f"{factor * value:,.{digits}f}"
