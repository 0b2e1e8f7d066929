"""Propagated variances against brute force: weight draws of an exact posterior through the whole sampler.

python experiments/propagation_brute_force/measure.py
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from scipy.stats import spearmanr
from torch import Tensor

import genuq
from genuq import data, files, machine, solvers
from genuq.analysis.intervals import Interval, Undefined, bootstrap_interval
from genuq.models import GenerativeModel, Sampler, evaluating, sample_latents
from genuq.posteriors import LastLayerPosterior, swapped
from genuq.propagators import Coherent, Corrected, Paper, Propagator, Trajectory, propagate

HERE = Path(__file__).parent
SOLVERS = {"flow_matching": "euler", "ddpm": "ddim", "latent_diffusion": "ddim"}
REPLICATES, OTHER, FRESH = 2000, 10_000, 1_000_000  # of the bootstrap; first draws of the second set, of fresh ones


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--draws", type=int, default=64, help="of the truth; half as many others as a second opinion")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--models", nargs="+", default=list(SOLVERS))
    options = parser.parse_args()
    machine.prepare()
    parts = [study(name, options.samples, options.draws, options.steps) for name in options.models]
    text = "\n\n".join(parts)
    files.write_text(HERE / "table.md", text + "\n")
    print(text)


def study(name: str, samples: int, draws: int, steps: int) -> str:
    """One model's tables, Markdown."""
    model = genuq.load_reference(name)
    posterior = genuq.fit(model, data.load("fashion_mnist", "train")).posterior
    assert isinstance(posterior, LastLayerPosterior)
    sampler = Sampler(solvers.build(SOLVERS[name]), steps=steps, batch_size=samples)
    indices = range(samples)
    lines = [
        f"### {name}: {SOLVERS[name]}, {steps} steps, {samples} samples, {draws} draws; weights moved by "
        f"{posterior.relative_perturbation():.3f} of their size"
    ]
    for assumption, regenerate, propagators in (
        ("one weight draw for a trajectory", shared, coherent_ones(draws)),
        ("fresh weights at every evaluation", fresh, independent_ones()),
    ):
        truth, other = (
            variance(model, posterior, sampler, samples, regenerate, range(first, first + count))
            for first, count in ((0, draws), (OTHER, draws // 2))
        )
        lines += ["", f"{assumption[0].upper()}{assumption[1:]}; mean V {float(truth.mean()):.3g}.", "", *HEAD]
        lines.append(row(f"{draws // 2} other regenerations", other, truth, None))
        for label, propagator, seed in propagators:
            found = propagate(model, posterior, sampler, indices, propagator, seed)
            lines.append(row(label, found.variance, truth, found.evaluations / found.plain_evaluations))
    return "\n".join(lines)


def coherent_ones(draws: int) -> list[tuple[str, Propagator, int]]:
    return [
        (f"coherent, the same {draws} draws", Coherent(draws), 0),
        ("coherent, 32 other draws", Coherent(32), 1),
        ("coherent, 8 other draws", Coherent(8), 1),
        *((f"trajectory, data_variance {value}", Trajectory(value), 0) for value in (0.01, 0.03, 0.1, 0.3, 1.0)),
        ("trajectory, fixed states", Trajectory(None), 0),
        ("corrected, 8 probes", Corrected(probes=8), 0),
    ]


def independent_ones() -> list[tuple[str, Propagator, int]]:
    return [
        *((f"corrected, {count} probes", Corrected(probes=count), 0) for count in (1, 2, 8, 32)),
        ("corrected, 8 probes, skip 3", Corrected(probes=8, skip=3), 0),
        ("corrected, antithetic, 8 pairs", Corrected("antithetic", 8), 0),
        ("corrected, centred Monte Carlo, 10 states", Corrected("monte_carlo", 10), 0),
        ("corrected, independent pixels, 8 probes", Corrected(probes=8, states="independent"), 0),
        ("paper", Paper(), 0),
        ("paper, skip 5", Paper(skip=5), 0),
    ]


@contextlib.contextmanager
def shared(model: GenerativeModel, posterior: LastLayerPosterior, draw: int) -> Iterator[None]:
    """One weight draw inside."""
    with swapped(model.head, posterior.draw(draw)):
        yield


@contextlib.contextmanager
def fresh(model: GenerativeModel, posterior: LastLayerPosterior, draw: int) -> Iterator[None]:
    """Another weight draw at every evaluation inside."""
    numbers = iter(range(FRESH + 1000 * draw, FRESH + 1000 * (draw + 1)))

    def drawn(head: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        matrix_OK = posterior.head.flattened(posterior.draw(next(numbers))).to(inputs[0])
        return posterior.head.project(inputs[0], matrix_OK)

    handle = model.head.register_forward_hook(drawn)
    try:
        yield
    finally:
        handle.remove()


Regenerate = Callable[[GenerativeModel, LastLayerPosterior, int], contextlib.AbstractContextManager[None]]


def variance(
    model: GenerativeModel,
    posterior: LastLayerPosterior,
    sampler: Sampler,
    samples: int,
    regenerate: Regenerate,
    draws: range,
) -> Tensor:
    """Variance (N, ...) of the final latents over weight draws, float64."""
    finals = []
    with evaluating(model):
        for draw in track(draws, "regenerating", disable=None):
            with regenerate(model, posterior, draw):
                finals.append(sample_latents(model, sampler, range(samples)).double())
    return torch.stack(finals).var(0)


HEAD = [
    "| | sum V / brute force | spatial correlation | spatial rank correlation | images | evaluations |",
    "|---" * 6 + "|",
]


def row(label: str, found: Tensor, truth: Tensor, evaluations: float | None) -> str:
    """Ratio of sums, correlations over an image's pixels (mean over images), rank correlation of the images' sums."""
    ours, theirs = (values.flatten(1).numpy() for values in (found, truth))
    spatial = np.array([np.corrcoef(left, right)[0, 1] for left, right in zip(ours, theirs)])
    ranked = np.array([spearmanr(left, right).statistic for left, right in zip(ours, theirs)])
    sums = ours.sum(1), theirs.sum(1)
    cells = [
        interval(lambda w_BN: (w_BN @ sums[0]) / (w_BN @ sums[1]), len(ours)),
        interval(lambda w_BN: (w_BN @ spatial) / w_BN.sum(1), len(ours)),
        interval(lambda w_BN: (w_BN @ ranked) / w_BN.sum(1), len(ours)),
        interval(lambda w_BN: np.array([rank_correlation(w_N, *sums) for w_N in w_BN]), len(ours)),
        "" if evaluations is None else f"{evaluations:.2f}",
    ]
    return f"| {label} | " + " | ".join(cells) + " |"


def rank_correlation(weights_N: np.ndarray, left_N: np.ndarray, right_N: np.ndarray) -> float:
    """Of the images, each taken as often as its weight says."""
    rows = np.repeat(np.arange(len(weights_N)), weights_N.astype(int))
    return float(spearmanr(left_N[rows], right_N[rows]).statistic)


def interval(statistic: Callable[[np.ndarray], np.ndarray], count: int) -> str:
    """Value and bootstrap interval over the images."""
    found: Interval | Undefined = bootstrap_interval(statistic, count, REPLICATES, seed=0)
    if isinstance(found, Undefined):
        return "undefined"
    return f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"


if __name__ == "__main__":
    main()
