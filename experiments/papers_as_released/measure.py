"""What each fault of the papers' released code does to a number that is known exactly, each fault kept alone.

python experiments/papers_as_released/measure.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

import genuq
from genuq import data, files, machine
from genuq.analysis.detection import auroc
from genuq.bench.gaussian import GaussianCase, gaussian_case
from genuq.models import Sampler, StageRecord, sample_latents
from genuq.posteriors import DiagonalLaplace, Scale
from genuq.processes import VariancePreserving
from genuq.propagators import Coherent, Paper, Propagator, propagate
from genuq.propagators.network import FollowedNetwork
from genuq.propagators.paper import DROPPED, NO_TOTAL, RELEASED, UNCENTRED
from genuq.scores import entropy, entropy_as_released
from genuq.scores.released import ENTROPY_FAULTS, HALF, LAST, variance_as_released
from genuq.scores.released import UNCENTRED as UNCENTRED_VARIANCE
from genuq.solvers import DDIM, DDPM, Euler, Solver

HERE = Path(__file__).parent
IMAGES = 32  # of the Gaussian case, 64 pixels each
STEPS = 50
VARIANCE = 1e-3  # of the observations, as published
HEAD = ["| fault, kept alone | option | number | exact | corrected | as released |", "|---|---|---|---:|---:|---:|"]


@dataclass(frozen=True)
class Row:
    """A number under a fault.

    Attributes:
        exact: in closed form or exact arithmetic.
        corrected: genuq's without the fault.
        released: with this fault alone.
    """

    fault: str
    option: str
    number: str
    exact: float
    corrected: float
    released: float

    @property
    def line(self) -> str:
        numbers = (shown(value) for value in (self.exact, self.corrected, self.released))
        return f"| {self.fault} | `{self.option}` | {self.number} | {' | '.join(numbers)} |"


def main() -> None:
    machine.prepare()
    parts = [
        ("### Posterior: a linear head whose exact posterior is known", posterior_rows()),
        ("### Entropy: embeddings whose entropy exact arithmetic gives", entropy_rows()),
        ("### Propagation: Gaussian pixels, the analytic score", propagation_rows()),
    ]
    text = "\n\n".join("\n".join([title, "", *HEAD, *(row.line for row in rows)]) for title, rows in parts)
    files.write_text(HERE / "table.md", text + "\n")
    print(text)


def shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 0.01 else f"{value:.3f}"


# Posteriors


def posterior_rows() -> Iterator[Row]:
    """Precision of the fitted weights over the exact one: 50,000 data with noise s = 0.3, of which 2 % are read."""
    whole, read, noise = 50_000, 1_000, 0.3
    source = torch.Generator().manual_seed(0)
    features_NK = torch.randn(read, 8, generator=source)
    residuals_N1 = noise * torch.randn(read, 1, generator=source)
    exact_K = whole / noise**2 * features_NK.double().square().mean(0)  # of the likelihood; the prior is far below

    def precision(convention: str, scale: Scale) -> float:
        posterior = DiagonalLaplace(nn.Linear(8, 1, bias=False), convention=convention)
        posterior.update(features_NK, residuals_N1)
        return float((posterior.weight(scale) * posterior.curvature[0] / exact_K).mean())

    right = precision("ggn", Scale(whole, noise**2, 1.0))
    number = "precision over the exact one"
    given = {
        ("Fisher of the un-halved loss", "posterior.convention=laplace_torch"): (
            "laplace_torch",
            Scale(whole, noise**2, 1.0),
        ),
        ("curvature of a subset, never scaled", "posterior.n_effective=${posterior.images}"): (
            "ggn",
            Scale(read, noise**2, 1.0),
        ),
        ("unit noise in place of the residuals'", "posterior.observation_noise=1"): ("ggn", Scale(whole, 1.0, 1.0)),
        ("all three", "experiment=papers_as_released"): ("laplace_torch", Scale(read, 1.0, 1.0)),
    }
    for (fault, option), (convention, scale) in given.items():
        yield Row(fault, option, number, 1.0, right, precision(convention, scale))


# Entropy


def entropy_rows() -> Iterator[Row]:
    """12,032 samples under 5 draws and the unperturbed one, 512 features, s2 = 1e-3."""
    embeddings_NMD = embedded(large=1.0)
    for faults in ((HALF,), (UNCENTRED_VARIANCE,), ENTROPY_FAULTS):
        yield from rows_of(embeddings_NMD, faults, "")
    yield from rows_of(embedded(large=4.0), ENTROPY_FAULTS, "larger features: ")
    yield from mixture_rows()


def rows_of(embeddings_NMD: Tensor, faults: Sequence[str], where: str) -> Iterator[Row]:
    fault = " and ".join(fault.replace("_", " ") for fault in faults)
    option = f"score.entropy_faults=[{','.join(faults)}]"
    exact_N = entropy(embeddings_NMD, VARIANCE)
    both = [entropy_as_released(embeddings_NMD, VARIANCE, given) for given in ((), faults)]
    signs = [variance_as_released(embeddings_NMD[:1000], given) < 0 for given in ((), faults)]
    kept = lowest(exact_N)
    numbers = {
        "share of negative variances": (0.0, *(share(sign) for sign in signs)),
        "distinct scores of 12,032 samples": tuple(float(len(scores_N.unique())) for scores_N in (exact_N, *both)),
        "share of samples without a number": (0.0, *(share(scores_N == LAST) for scores_N in both)),
        "rank correlation with exact arithmetic": (1.0, *(rank(scores_N, exact_N) for scores_N in both)),
        "of the 10,000 kept, share of the right ones": (1.0, *(len(kept & lowest(s_N)) / 10_000 for s_N in both)),
    }
    for number, (exact, corrected, released) in numbers.items():
        yield Row(fault, option, f"{where}{number}", exact, corrected, released)


def lowest(scores_N: Tensor) -> set[int]:
    return set(scores_N.argsort(stable=True)[:10_000].tolist())


def share(chosen: Tensor) -> float:
    return float(chosen.double().mean())


def embedded(large: float) -> Tensor:
    """(N, M, D) float32: features about 0.4, eight of them about `large`; each sample spreads by 0.02 to 0.1."""
    source = torch.Generator().manual_seed(0)
    mean_N1D = 0.4 * torch.randn(12_032, 1, 512, generator=source)
    mean_N1D[..., :8] += large
    spread_N11 = 0.02 + 0.08 * torch.rand(12_032, 1, 1, generator=source)
    return mean_N1D + spread_N11 * torch.randn(12_032, 6, 512, generator=source)


def mixture_rows() -> Iterator[Row]:
    """The lattice of 25 modes, sigma 0.02: samples at a mode, and a fifth whose draws scatter as twice as wide."""
    modes = data.load("lattice_mixture", "test", dimension=2, size=2000).batch(range(2000))[0]
    source = torch.Generator().manual_seed(0)
    wide = torch.rand(len(modes), generator=source) < 0.2
    spread = torch.where(wide, 0.04, 0.02)[:, None, None]
    draws_NMD = modes[:, None] + spread * torch.randn(len(modes), 6, 2, generator=source)
    variance = 1e-4
    exact = found_by(entropy(draws_NMD, variance), wide)
    for faults in ((HALF,), (UNCENTRED_VARIANCE,), ENTROPY_FAULTS):
        name = " and ".join(fault.replace("_", " ") for fault in faults)
        found = [found_by(entropy_as_released(draws_NMD, variance, given), wide) for given in ((), faults)]
        number = "25 modes: AUROC of the samples that scatter"
        yield Row(name, f"score.entropy_faults=[{','.join(faults)}]", number, exact, *found)


# Propagation


def propagation_rows() -> Iterator[Row]:
    """DDIM (and DDPM) on epsilon, 50 steps, weights anew at every evaluation as the recursion assumes."""
    run = Exact(DDIM())
    truth, none = run.truth(), run.variance(Paper(faults=()))
    for fault, name in ((UNCENTRED, "covariance not centred"), (NO_TOTAL, "Var(E[f given x]) missing")):
        option, found = f"propagator.faults=[{fault}]", run.variance(Paper(faults=(fault,)))
        yield Row(name, option, "sum of V over the true one", 1.0, ratio(none, truth), ratio(found, truth))
        yield Row(name, option, "rank correlation of pixels", 1.0, rank(none, truth), rank(found, truth))
        yield Row(name, option, "share of negative V", 0.0, share(none < 0), share(found < 0))
    for label, case in (("DDIM", run), ("DDPM", Exact(DDPM()))):
        yield skipped(label, case)
    first = [first_step_decides(run, given) for given in ((), (DROPPED,))]
    exact = rank(run.first(), truth) ** 2
    number = "DDIM, every fifth step: squared rank correlation of the first step's V with the last"
    yield Row("skipped steps drop the slope", f"propagator.skip=5 propagator.faults=[{DROPPED}]", number, exact, *first)
    yield from all_faults(run)
    yield from shrinking()
    yield from guided()


def skipped(label: str, run: Exact) -> Row:
    truth = run.truth()
    kept, dropped = (run.variance(Paper(faults=given, skip=5)) for given in ((), (DROPPED,)))
    option = f"propagator.skip=5 propagator.faults=[{DROPPED}]"
    number = f"{label}, every fifth step: sum of V over the true one"
    return Row("skipped steps drop the slope", option, number, 1.0, ratio(kept, truth), ratio(dropped, truth))


def all_faults(run: Exact) -> Iterator[Row]:
    truth, name = run.truth(), "all three"
    for skip in (1, 5):
        option = f"propagator=paper propagator.skip={skip}"
        none, found = (run.variance(Paper(faults=given, skip=skip)) for given in ((), RELEASED))
        number = f"skip {skip}: sum of V over the true one"
        yield Row(name, option, number, 1.0, ratio(none, truth), ratio(found, truth))
        number = f"skip {skip}: rank correlation of pixels"
        yield Row(name, option, number, 1.0, rank(none, truth), rank(found, truth))


def first_step_decides(run: Exact, faults: Sequence[str]) -> float:
    """Squared rank correlation of V after the first step with the last V."""
    found = propagate(*run.asked(Paper(faults=tuple(faults), skip=5)), cuts=[run.stages[0].t_next])
    return rank(found.at(run.stages[0].t_next)[1], found.variance) ** 2


def shrinking() -> Iterator[Row]:
    """What 250 steps find over what 50 do, where weights are drawn once for a trajectory, as they are."""
    runs = [Exact(DDIM(), steps) for steps in (50, 250)]
    exact, coherent, released = (
        [how(run) for run in runs]
        for how in (
            lambda run: run.truth(shared=True),
            lambda run: run.variance(Coherent(None)),
            lambda run: run.variance(Paper()),
        )
    )
    yield Row(
        "weights anew at every step",
        "propagator=paper",
        "mean V of 50 steps over that of 250 (corrected: propagator=coherent)",
        *(ratio(few, many) for few, many in (exact, coherent, released)),
    )


def guided() -> Iterator[Row]:
    """Var f of the shipped flow-matching model under classifier-free guidance, mean over 10 steps of 8 samples."""
    model = genuq.load_reference("flow_matching")
    posterior = genuq.fit(model, data.load("fashion_mnist", "train"), images=256, held_out=64).posterior
    for scale in (1.5, 4.0, 7.5):
        sampler = Sampler(Euler(), steps=10, batch_size=8, guidance_scale=scale)
        y = sampler.classes_of(model, range(8))
        network = FollowedNetwork(model, posterior, scale, y)
        found: list[tuple[float, float]] = []

        def watch(record: StageRecord, network: FollowedNetwork = network, found: list[tuple[float, float]] = found):
            with network.at(record):
                apart, joint = network.variance_of_independent_branches(), network.predictive_variance()
                found.append((float(joint.mean()), float(apart.mean())))

        with network.watched():
            sample_latents(model, sampler, range(8), observers=[watch])
        joint, apart = (sum(values) for values in zip(*found))
        yield Row(
            "branches of a guidance as independent",
            "propagator.faults=[independent_branches]",
            f"guidance {scale:g}: Var f over that of the guided feature",
            1.0,
            1.0,
            apart / joint,
        )


class Exact:
    """The Gaussian case under one solver."""

    def __init__(self, solver: Solver, steps: int = STEPS) -> None:
        self.case: GaussianCase = gaussian_case(VariancePreserving("linear"), "epsilon")
        self.sampler = Sampler(solver, steps=steps, batch_size=IMAGES)
        seen: list[StageRecord] = []
        sample_latents(self.case.model, self.sampler, range(IMAGES), observers=[seen.append])
        self.stages, self.start = self.sampler.stages(self.case.model), seen[0].states[0]
        self.noises = [record.noise for record in seen]

    def truth(self, shared: bool = False) -> Tensor:
        if shared:
            return self.case.weights_shared(self.stages, self.start, self.noises)
        return self.case.weights_independent(self.stages, self.start)

    def asked(self, propagator: Propagator):
        return self.case.model, self.case.posterior, self.sampler, range(IMAGES), propagator

    def variance(self, propagator: Propagator) -> Tensor:
        return propagate(*self.asked(propagator)).variance

    def first(self) -> Tensor:
        """V after the first step, in which there is nothing to estimate."""
        t = self.stages[0].t_next
        return propagate(*self.asked(Paper(faults=())), cuts=[t]).at(t)[1]


def ratio(found: Tensor, truth: Tensor) -> float:
    return float(found.sum() / truth.sum())


def rank(found: Tensor, truth: Tensor) -> float:
    return float(spearmanr(found.flatten(), truth.flatten()).statistic)


def found_by(score_N: Tensor, wide_N: Tensor) -> float:
    """AUROC."""
    return float(auroc(score_N.numpy(), wide_N.numpy(), bootstrap=2).value)


if __name__ == "__main__":
    main()
