"""Configurations of diffusers' schedulers as people use them, and a pipeline's loop over a small nonlinear network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from genuq.models import GenerativeModel
from genuq.randomness import ANCESTRAL, generators, normal
from genuq.solvers import SchedulerSolver
from genuq.solvers.probing import SuppliedNoise

STABLE_DIFFUSION = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
SHAPE = (3, 6, 6)


def diffusion(name: str, **settings: Any) -> Callable[[], Any]:
    return lambda: getattr(diffusers, name)(**{**STABLE_DIFFUSION, **settings})


def flow(name: str, **settings: Any) -> Callable[[], Any]:
    return lambda: getattr(diffusers, name)(**settings)


TRAILING = {"timestep_spacing": "trailing"}
DIFFUSION: dict[str, Callable[[], Any]] = {
    "ddim leading": diffusion("DDIMScheduler", clip_sample=False, set_alpha_to_one=False, steps_offset=1),
    "ddim trailing": diffusion("DDIMScheduler", clip_sample=False, **TRAILING),
    "ddim linspace": diffusion("DDIMScheduler", clip_sample=False, timestep_spacing="linspace"),
    "ddim zero SNR, v": diffusion(
        "DDIMScheduler", clip_sample=False, rescale_betas_zero_snr=True, prediction_type="v_prediction", **TRAILING
    ),
    "ddim sample": diffusion("DDIMScheduler", clip_sample=False, prediction_type="sample"),
    "pndm": diffusion("PNDMScheduler", skip_prk_steps=True, steps_offset=1),
    "pndm with runge-kutta": diffusion("PNDMScheduler"),
    "dpm++ 2m": diffusion("DPMSolverMultistepScheduler"),
    "dpm++ 2m karras": diffusion("DPMSolverMultistepScheduler", use_karras_sigmas=True),
    "dpm++ 2m v": diffusion("DPMSolverMultistepScheduler", prediction_type="v_prediction"),
    "dpm++ 3m": diffusion("DPMSolverMultistepScheduler", solver_order=3),
    "dpm++ 2m heun": diffusion("DPMSolverMultistepScheduler", solver_type="heun"),
    "dpm++ 2m sde": diffusion("DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++"),
    "dpm 2m": diffusion("DPMSolverMultistepScheduler", algorithm_type="dpmsolver", final_sigmas_type="sigma_min"),
    "dpm++ singlestep": diffusion("DPMSolverSinglestepScheduler"),
    "unipc": diffusion("UniPCMultistepScheduler"),
    "unipc 3": diffusion("UniPCMultistepScheduler", solver_order=3),
    "deis": diffusion("DEISMultistepScheduler"),
    "euler": diffusion("EulerDiscreteScheduler"),
    "euler karras": diffusion("EulerDiscreteScheduler", use_karras_sigmas=True),
    "heun": diffusion("HeunDiscreteScheduler"),
    "lms": diffusion("LMSDiscreteScheduler"),
    "kdpm2": diffusion("KDPM2DiscreteScheduler"),
    "kdpm2 ancestral": diffusion("KDPM2AncestralDiscreteScheduler"),
    "euler ancestral": diffusion("EulerAncestralDiscreteScheduler"),
    "ddpm": diffusion("DDPMScheduler", clip_sample=False),
    "ddpm large": diffusion("DDPMScheduler", clip_sample=False, variance_type="fixed_large"),
    "lcm": diffusion("LCMScheduler"),
    "tcd": diffusion("TCDScheduler"),
}
FLOW: dict[str, Callable[[], Any]] = {
    "flow euler": flow("FlowMatchEulerDiscreteScheduler"),
    "flow euler, shift 3": flow("FlowMatchEulerDiscreteScheduler", shift=3.0),
    "flow euler, dynamic shift": flow("FlowMatchEulerDiscreteScheduler", use_dynamic_shifting=True),
    "flow euler, karras": flow("FlowMatchEulerDiscreteScheduler", use_karras_sigmas=True),
    "flow euler, exponential": flow("FlowMatchEulerDiscreteScheduler", use_exponential_sigmas=True),
    "flow euler, beta": flow("FlowMatchEulerDiscreteScheduler", use_beta_sigmas=True),
    "flow euler, stochastic": flow("FlowMatchEulerDiscreteScheduler", stochastic_sampling=True),
    "flow heun": flow("FlowMatchHeunDiscreteScheduler"),
    "flow lcm": flow("FlowMatchLCMScheduler"),
    "flow unipc": flow(
        "UniPCMultistepScheduler", prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    ),
    "flow dpm++ 2m": flow(
        "DPMSolverMultistepScheduler", prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    ),
}
EDM: dict[str, Callable[[], Any]] = {
    "edm euler": flow("EDMEulerScheduler"),
    "edm euler, v, data of 1": flow("EDMEulerScheduler", prediction_type="v_prediction", sigma_data=1.0),
    "edm dpm++ 2m": flow("EDMDPMSolverMultistepScheduler"),
    "edm dpm++ 3m, exponential": flow(
        "EDMDPMSolverMultistepScheduler", solver_order=3, sigma_schedule="exponential", final_sigmas_type="sigma_min"
    ),
    "edm dpm++ 2m sde": flow("EDMDPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++"),
}
AFFINE = {**DIFFUSION, **FLOW, **EDM}
CLIPPING: dict[str, tuple[Callable[[], Any], str]] = {
    "ddim": (diffusion("DDIMScheduler"), "clip_sample"),
    "ddpm": (diffusion("DDPMScheduler"), "clip_sample"),
    "ddpm thresholding": (diffusion("DDPMScheduler", clip_sample=False, thresholding=True), "thresholding"),
    "dpm++ thresholding": (diffusion("DPMSolverMultistepScheduler", thresholding=True), "thresholding"),
    "unipc thresholding": (diffusion("UniPCMultistepScheduler", thresholding=True), "thresholding"),
}


def settings_of(scheduler: Any) -> Callable[[int], Mapping[str, Any]] | None:
    """What a pipeline gives set_timesteps beside the number of steps."""
    return (lambda steps: {"mu": 1.0}) if scheduler.config.get("use_dynamic_shifting") else None


class SmallNetwork(nn.Module):
    """Nonlinear in the state and in the time, which it takes as diffusers' networks do: timesteps, not fractions."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first = nn.Conv2d(3, 16, 3, padding=1)
            self.time = nn.Linear(16, 16)
            self.head = nn.Conv2d(16, 3, 3, padding=1)
            with torch.no_grad():
                self.head.weight.mul_(2)

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        waves = torch.sin(timestep.float()[:, None] * torch.logspace(-3, 0, 16))
        return self.head(torch.tanh(self.first(x) + self.time(waves.to(x.dtype))[:, :, None, None]))


def call(network: nn.Module, x: Tensor, timestep: Tensor, y: Tensor | None) -> Tensor:
    return network(x, timestep)


def model_of(solver: SchedulerSolver, network: nn.Module | None = None) -> GenerativeModel:
    """The model that the scheduler's pipeline would have."""
    return GenerativeModel(network or SmallNetwork(), SHAPE, solver.process, solver.prediction, call=call)


@torch.no_grad()
def pipeline(
    network: nn.Module,
    scheduler: Any,
    steps: int,
    noise: Tensor,
    seed: int,
    drawing: Sequence[bool] | None = None,
    **options: Any,
) -> Tensor:
    """The loop of diffusers' pipelines, word for word; the noise of the steps is that of genuq's samples 0, 1, ...

    Args:
        drawing: whether a stage of genuq's draws noise; the scheduler may draw some that it multiplies by 0.
    """
    scheduler.set_timesteps(steps, **(settings_of(scheduler) or (lambda steps: {}))(steps))
    sources = generators(seed, range(len(noise)), ANCESTRAL)
    x = noise * getattr(scheduler, "init_noise_sigma", 1.0)
    for stage, time in enumerate(scheduler.timesteps):

        def supply(shape: Sequence[int], draws: bool = drawing is None or drawing[stage]) -> Tensor:
            return normal(sources, shape[1:]) if draws else torch.zeros(tuple(shape))

        shown = scheduler.scale_model_input(x, time) if hasattr(scheduler, "scale_model_input") else x
        prediction = network(shown, time.expand(len(x)))
        with SuppliedNoise(supply):
            x = scheduler.step(prediction, time, x, **options, return_dict=False)[0]
    return x


def relative(found: Tensor, expected: Tensor) -> float:
    """Root mean square of the difference, relative."""
    return float((found - expected).double().square().mean().sqrt() / expected.double().square().mean().sqrt())
