"""How right each propagator is where the truth is known, and what it costs on a real network.

The exact case is genuq.bench.gaussian. Each propagator is held against the truth under its own assumption: weights that
are drawn anew at every evaluation (`fresh`), or once for a trajectory (`shared`). Ancestral noise is the sample's own,
but for `paper`, which always counts it into V (`fresh, noise in V`). Costs are those of the shipped
flow-matching model: ratios of medians over interleaved rounds in one process.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import Tensor

from genuq.bench.gaussian import GaussianCase, gaussian_case, random_rotation
from genuq.bench.timing import Work, interleaved, ratio
from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, Sampler, StageRecord, sample, sample_latents
from genuq.models.checkpoints import load_reference
from genuq.posteriors import Posterior, fit
from genuq.processes import FlowMatching, Process, VariancePreserving
from genuq.propagators import Coherent, Corrected, Paper, Propagation, Propagator, Trajectory, propagate
from genuq.solvers import DDIM, DDPM, DPMSolver2, DPMSolverPlusPlus2M, Euler, Heun, Solver

HELP = "accuracy of every propagator in an exact case, and its cost on the shipped model"

Record = dict[str, Any]


@dataclass(frozen=True)
class BenchCase:
    """A solver on a path, with pixels that are independent or not."""

    solver: Solver
    process: Process
    prediction: str
    dependent: bool = False


SETTINGS = (
    BenchCase(DDIM(), VariancePreserving("linear"), "epsilon"),
    BenchCase(DDPM(), VariancePreserving("linear"), "epsilon"),
    BenchCase(DPMSolver2(), VariancePreserving("linear"), "epsilon"),
    BenchCase(Euler(), FlowMatching(), "flow"),
    BenchCase(Heun(), FlowMatching(), "flow"),
    BenchCase(DPMSolverPlusPlus2M(), FlowMatching(), "flow"),
    BenchCase(Euler(), FlowMatching(), "flow", dependent=True),
)
SAMPLES = 32
FRESH, SHARED, COUNTED = "fresh", "shared", "fresh, noise in V"

# What is measured: a label, the propagator, and its assumption on the weights.
INDEPENDENT: tuple[tuple[str, Propagator, str], ...] = (
    ("paper", Paper(), COUNTED),
    ("paper", Paper(skip=5), COUNTED),
    ("corrected", Corrected(ancestral="given"), FRESH),
    ("corrected", Corrected(ancestral="given", skip=5), FRESH),
    ("corrected, centred Monte Carlo", Corrected("monte_carlo", 10, "independent", ancestral="given"), FRESH),
    ("coherent, every direction", Coherent(None), SHARED),
    ("coherent, 16 draws", Coherent(16), SHARED),
    ("trajectory, the data's mean variance", Trajectory(0.55), SHARED),
)
DEPENDENT: tuple[tuple[str, Propagator, str], ...] = (
    ("corrected, independent pixels", Corrected(probes=16, states="independent"), FRESH),
    ("corrected, 16 carried probes", Corrected(probes=16), FRESH),
    ("corrected, 64 carried probes", Corrected(probes=64), FRESH),
)
COSTS: tuple[tuple[str, Propagator], ...] = (
    ("trajectory", Trajectory()),
    ("corrected", Corrected()),
    ("corrected, skip 5", Corrected(skip=5)),
    ("corrected, 4 probes", Corrected(probes=4)),
    ("corrected, forward mode", Corrected(derivative="forward")),
    ("coherent, 8 draws", Coherent(8)),
    ("paper", Paper()),
)


def configure(command: argparse.ArgumentParser) -> None:
    command.add_argument("--steps", help="of the exact case, separated by commas (default: 20,50,250; quick 10)")
    command.add_argument("--rounds", type=int, default=None, help="how often each cost is timed (default: 5, quick 1)")


def run(arguments: argparse.Namespace) -> list[Record]:
    """A record for each propagator, solver and number of steps, and for each cost.

    Raises:
        ConfigurationError: steps that are no numbers.
    """
    counts = _counts(arguments.steps or ("10" if arguments.quick else "20,50,250"))
    records = [record for setting in SETTINGS for steps in counts for record in accuracy(setting, steps)]
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    return records + costs(samples=8 if arguments.quick else SAMPLES, steps=4 if arguments.quick else 20, rounds=rounds)


def _counts(words: str) -> list[int]:
    try:
        return [int(word) for word in words.split(",")]
    except ValueError as error:
        raise ConfigurationError(f"--steps {words}: give numbers of steps, separated by commas.") from error


def accuracy(setting: BenchCase, steps: int) -> Iterator[Record]:
    """Every propagator that can treat the solver, against the truth under its own assumption."""
    rotation = random_rotation() if setting.dependent else None
    case = gaussian_case(setting.process, setting.prediction, rotation=rotation)
    sampler = Sampler(setting.solver, steps=steps, batch_size=SAMPLES)
    truths = _truths(setting, case, sampler)
    plain = lambda: sample(case.model, sampler, range(SAMPLES))  # noqa: E731 - a piece of work to time
    for label, propagator, weights in DEPENDENT if setting.dependent else INDEPENDENT:
        try:
            found, seconds = _measured(case.model, case.posterior, sampler, propagator, plain)
        except ConfigurationError:
            continue  # `paper` knows one state and one prediction in a step
        yield {
            "case": "gaussian, dependent pixels" if setting.dependent else "gaussian",
            "propagator": label,
            "solver": setting.solver.name,
            "prediction": setting.prediction,
            "steps": steps,
            "skip": getattr(propagator, "skip", 1),
            "weights": weights,
            **compared(found.variance, truths[weights]),
            "evaluations_ratio": found.evaluations / found.plain_evaluations,
            "seconds_ratio": seconds,
        }


def _truths(setting: BenchCase, case: GaussianCase, sampler: Sampler) -> dict[str, Tensor]:
    """V[x_0] under each assumption."""
    seen: list[StageRecord] = []

    def see(record: StageRecord) -> None:
        seen.append(record)

    sample_latents(case.model, sampler, range(SAMPLES), observers=[see])
    stages, start, noises = sampler.stages(case.model), seen[0].states[0], [record.noise for record in seen]
    if setting.dependent:
        return {FRESH: case.weights_independent_of_dependent_pixels(stages, start)}
    return {
        FRESH: case.weights_independent(stages, start, noises),
        COUNTED: case.weights_independent(stages, start),
        SHARED: case.weights_shared(stages, start, noises),
    }


def compared(found: Tensor, truth: Tensor) -> Record:
    """How near a variance (N, ...) comes to the true one."""
    images = [variance.flatten(1).sum(1) for variance in (found, truth)]
    return {
        "sum_ratio": float(found.sum() / truth.sum()),
        "image_rank_correlation": float(spearmanr(*images).statistic),
        "pixel_rank_correlation": float(spearmanr(found.flatten(), truth.flatten()).statistic),
        "negative_share": float((found < 0).double().mean()),
        "true_mean_variance": float(truth.mean()),
    }


def _measured(
    model: GenerativeModel, posterior: Posterior, sampler: Sampler, propagator: Propagator, plain: Work
) -> tuple[Propagation, float]:
    """(the propagation, its seconds over plain sampling's, once)."""
    found: list[Propagation] = []
    follow = lambda: found.append(propagate(model, posterior, sampler, range(SAMPLES), propagator))  # noqa: E731
    seconds = interleaved({"plain": plain, "propagated": follow}, rounds=1, warm=False)
    return found[0], ratio(seconds, "propagated", "plain")


def costs(samples: int, steps: int, rounds: int) -> list[Record]:
    """Evaluations and seconds over plain sampling's, on the shipped flow-matching model and its exact posterior.

    The posterior is fitted to noise images: what is measured does not depend on its numbers.
    """
    model = load_reference("flow_matching")
    images = torch.randn((192, *model.shape), generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    posterior = fit(model, images, images=128, held_out=64).posterior
    sampler, indices = Sampler(Euler(), steps=steps, batch_size=samples), range(samples)
    evaluations: dict[str, float] = {}

    def follow(label: str, propagator: Propagator) -> Work:
        def work() -> None:
            found = propagate(model, posterior, sampler, indices, propagator)
            evaluations[label] = found.evaluations / found.plain_evaluations

        return work

    work: Mapping[str, Work] = {
        "plain": lambda: sample(model, sampler, indices),
        **{label: follow(label, propagator) for label, propagator in COSTS},
    }
    seconds = interleaved(work, rounds)
    nothing = dict.fromkeys(
        ("sum_ratio", "image_rank_correlation", "pixel_rank_correlation", "negative_share", "true_mean_variance")
    )
    return [
        {
            "case": f"flow_matching, {samples} samples",
            "propagator": label,
            "solver": sampler.solver.name,
            "prediction": model.prediction,
            "steps": steps,
            "skip": getattr(propagator, "skip", 1),
            "weights": None,
            **nothing,
            "evaluations_ratio": evaluations[label],
            "seconds_ratio": ratio(seconds, label, "plain"),
        }
        for label, propagator in COSTS
    ]


ACCURACY = {
    "propagator": "propagator",
    "skip": "skip",
    "weights": "weights",
    "sum_ratio": "sum V / true",
    "image_rank_correlation": "images",
    "pixel_rank_correlation": "pixels",
    "negative_share": "negative",
    "true_mean_variance": "true mean V",
    "evaluations_ratio": "evaluations",
}
COST = {"propagator": "propagator", "evaluations_ratio": "evaluations", "seconds_ratio": "seconds"}


def table(records: Sequence[Record]) -> str:
    """Markdown: one table for each exact case, one for the costs."""
    parts = []
    for key in dict.fromkeys(_heading(record) for record in records):
        rows = [record for record in records if _heading(record) == key]
        columns = ACCURACY if rows[0]["sum_ratio"] is not None else COST
        lines = [f"### {key}", "", "| " + " | ".join(columns.values()) + " |", "|---" * len(columns) + "|"]
        lines += ["| " + " | ".join(_cell(record[column]) for column in columns) + " |" for record in rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _heading(record: Record) -> str:
    return f"{record['case']}: {record['solver']} on {record['prediction']}, {record['steps']} steps"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if 0 < abs(value) < 0.01 else f"{value:.3f}"
    return str(value)
