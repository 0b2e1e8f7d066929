"""Runs of the exact Gaussian case, with what its closed forms need, and models with random weights."""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.stats import spearmanr
from torch import Tensor

from genuq.bench.gaussian import GaussianCase, gaussian_case
from genuq.models import GenerativeModel, Sampler, StageRecord, sample_latents
from genuq.networks import DiT, UNet
from genuq.posteriors import ExactLastLayerLaplace, Scale
from genuq.processes import FlowMatching, VariancePreserving
from genuq.solvers import DDIM, DDPM, AffineStage, DPMSolver2, DPMSolverPlusPlus2M, Euler, Heun

LINEAR = VariancePreserving("linear")
CASES = {
    "euler": (Euler(), FlowMatching(), "flow"),
    "ddim": (DDIM(), LINEAR, "epsilon"),
    "ddim, eta 0.5": (DDIM(0.5), FlowMatching(), "sample"),
    "ddpm": (DDPM(), LINEAR, "epsilon"),
    "heun": (Heun(), FlowMatching(), "flow"),
    "dpm_solver_2": (DPMSolver2(), LINEAR, "v_prediction"),
    "dpm_solver_pp_2m": (DPMSolverPlusPlus2M(), FlowMatching(), "flow"),
}
STOCHASTIC = ("ddim, eta 0.5", "ddpm")
SAMPLES = 24


class Run(NamedTuple):
    case: GaussianCase
    sampler: Sampler
    stages: list[AffineStage]
    start: Tensor
    noises: list[Tensor | None]
    latents: Tensor


def gaussian_run(name: str, steps: int = 20, **options) -> Run:
    solver, process, prediction = CASES[name]
    case, sampler = gaussian_case(process, prediction, **options), Sampler(solver, steps=steps)
    records: list[StageRecord] = []
    latents = sample_latents(case.model, sampler, range(SAMPLES), observers=[records.append])
    stages = sampler.stages(case.model)
    return Run(case, sampler, stages, records[0].states[0], [record.noise for record in records], latents)


def sums(variance: Tensor) -> Tensor:
    return variance.double().flatten(1).sum(1)


def rank_correlation(left: Tensor, right: Tensor) -> float:
    return float(spearmanr(left.flatten(), right.flatten()).statistic)


SHAPE, CLASSES = (1, 8, 8), 3
NETWORKS = {
    "unet": lambda: UNet(SHAPE, channels=(8, 16), num_classes=CLASSES),
    "dit": lambda: DiT(SHAPE, width=16, depth=1, heads=2, num_classes=CLASSES),
}


def random_model(network: str = "unet", process: str = "flow_matching", prediction: str = "flow") -> GenerativeModel:
    """Random weights everywhere, so that no zero-initialised head hides a difference."""
    torch.manual_seed(0)
    net = NETWORKS[network]()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return GenerativeModel(net, SHAPE, process, prediction, CLASSES).eval()


def fitted(model: GenerativeModel, noise: float = 1e-3) -> ExactLastLayerLaplace:
    """A posterior over the model's head from random head inputs, whose weights deviate by about `noise`."""
    posterior, inputs = ExactLastLayerLaplace(model.head), []
    handle = model.head.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    with torch.no_grad():
        model(torch.randn(64, *SHAPE), torch.rand(64), torch.arange(64) % CLASSES)
    handle.remove()
    posterior.update(inputs[0])
    return posterior.finalise(Scale(64, observation_noise=1e3 * noise**2, prior_precision=noise**-2))
