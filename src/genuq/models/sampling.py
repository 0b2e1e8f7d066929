"""Sampling: stages of a solver run on a model, with randomness that belongs to the sample, not to the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Protocol

import torch
from torch import Tensor

from genuq.errors import ConfigurationError, require_finite
from genuq.models.autoencoder import Autoencoder
from genuq.models.directly import sample_directly
from genuq.models.generative import GenerativeModel, evaluating
from genuq.parts.bounds import Count, Items, Limits, OneOf, Positive, Seed, WholeNumber, check_fields
from genuq.processes import conversion
from genuq.processes.scheduled import is_scheduler
from genuq.randomness import ANCESTRAL, INITIAL, generators, normal
from genuq.solvers import SPACINGS, AffineStage, Euler, KarrasLevels, SchedulerSolver, Solver, Spacing, apply
from genuq.solvers.grids import KARRAS

Progress = Callable[[int], None]


class StageRecord(NamedTuple):
    """What an observer sees after each stage; states and predictions are newest first, without the result.

    Attributes:
        noise: what the stage's coefficient multiplies, (B, *latent_shape): standard normal, unless the network says how
            much noise the step has.
        deviation: of all the noise that the step adds: (B, *latent_shape) where the network says it.
    """

    stage: AffineStage
    states: list[Tensor]
    predictions: list[Tensor]
    noise: Tensor | None
    result: Tensor
    deviation: Tensor | float


class Observer(Protocol):
    """Watches a solver; it must not change what it is shown."""

    def __call__(self, record: StageRecord) -> None: ...


class Steering:
    """Changes a trajectory: the solver goes on with what these return. For applications; whatever only watches is an
    observer. The base changes nothing.
    """

    def prediction(self, stage: AffineStage, x: Tensor, prediction: Tensor) -> Tensor:
        """The prediction at the state x to use in place of the network's."""
        return prediction

    def state(self, stage: AffineStage, x: Tensor) -> Tensor:
        """The state to use in place of the one that the stage led to."""
        return x


@dataclass(frozen=True)
class Sampler:
    """How to draw samples from a model.

    Attributes:
        solver: of the reverse process; a scheduler of diffusers' becomes a `SchedulerSolver`.
        steps: solver steps (second-order singlestep solvers evaluate the network twice a step).
        spacing: of the times: `uniform_time`; `uniform_log_snr`; `karras`, EDM's levels of noise; `timesteps`, evenly
            over the timesteps of a table of betas, as ADM is sampled.
        guidance_scale: 1 means none; s gives (1 - s) f(null) + s f(class).
        seed: with the sample's index, keys all of its randomness.
        classes: None deals the classes out in turn, index by index, of a model with prompts those it is asked for;
            otherwise these, in turn.
        batch_size: samples at a time; changes no sample.
        clip_x0: clip x0_hat to the images' range [-1, 1] at every evaluation, and let eps_hat follow from it and x_t,
            as published pixel diffusion models are sampled (Ho et al. 2020; diffusers' `clip_sample`, in its DDIM with
            `use_clipped_model_output`). Steps are then not affine in the predictions: propagators refuse it.
        rho, sigma_min, sigma_max: of `karras`, as of `genuq.solvers.KarrasLevels`; None: 7, and the levels at which the
            model's path ends and begins.
    """

    solver: Solver = Euler()  # noqa: RUF009 - a solver is immutable
    steps: Count = 20
    spacing: Annotated[str, OneOf(*SPACINGS)] = "uniform_time"
    guidance_scale: float = 1.0
    seed: Seed = 0
    classes: Annotated[Sequence[WholeNumber], Items()] | None = None
    batch_size: Count = 64
    clip_x0: bool = False
    rho: Annotated[float, Limits(least=0.1, most=100)] | None = None
    sigma_min: Positive | None = None
    sigma_max: Positive | None = None

    def __post_init__(self) -> None:
        if is_scheduler(self.solver):
            object.__setattr__(self, "solver", SchedulerSolver(self.solver))
        check_fields(self, "sampler")

    def check(self, model: GenerativeModel) -> None:
        """Raise ConfigurationError for unknown classes, guidance that the model cannot do, a variance that it does not
        learn, or clipping of what has no range.
        """
        if self.classes is not None:
            model.check_classes(self.classes)
        if self.guidance_scale != 1.0:
            model.require_guidance(self.guidance_scale)
        self._check_spacing()
        if self.solver.learned_variance:
            model.require_learned_variance()
        if self.clip_x0 and (type(model.autoencoder) is not Autoencoder or len(model.shape) != 3):
            raise ConfigurationError(
                "sampler.clip_x0 = true clips to the range of images, [-1, 1], which neither latents nor points have: "
                "set it to false."
            )
        if self.clip_x0 and isinstance(self.solver, SchedulerSolver) and self.solver.directly:
            raise ConfigurationError(
                f"sampler.clip_x0 = true, but {self.solver.name} samples directly: set it to false, and clip in the "
                "scheduler's configuration."
            )

    def _check_spacing(self) -> None:
        """Raise ConfigurationError for a spacing that the solver does not take, or numbers of another one."""
        if isinstance(self.solver, SchedulerSolver):
            self.solver.require_own_spacing(self.spacing)
        for key in ("rho", "sigma_min", "sigma_max"):
            if self.spacing != KARRAS and (given := getattr(self, key)) is not None:
                raise ConfigurationError(
                    f"sampler.{key} = {given:g} is a number of sampler.spacing=karras, and sampler.spacing = "
                    f"'{self.spacing}': set it to null, or choose that spacing."
                )

    @property
    def grid(self) -> Spacing:
        """The spacing with its numbers."""
        if self.spacing != KARRAS:
            return self.spacing
        return KarrasLevels(self.rho or KarrasLevels.rho, self.sigma_min, self.sigma_max)

    def stages(self, model: GenerativeModel) -> list[AffineStage]:
        return self.solver.sampling_stages(model.process, model.prediction, self.steps, self.grid)

    def evaluations(self, model: GenerativeModel) -> int:
        """Network evaluations of one sample; each branch of a guidance counts."""
        each = self.solver.evaluations(model.process, model.prediction, self.steps, self.grid)
        return each * model.branches(self.guidance_scale)

    def classes_of(self, model: GenerativeModel, indices: Sequence[int]) -> Tensor | None:
        """The class of each sample (B,), None for an unconditional model."""
        if not model.num_classes:
            return None
        choice = torch.as_tensor(list(model.asked if self.classes is None else self.classes))
        return choice[torch.as_tensor(list(indices), dtype=torch.long) % len(choice)]

    def initial_noise(self, model: GenerativeModel, indices: Sequence[int]) -> Tensor:
        """x_T of each sample (B, *latent_shape)."""
        return normal(generators(self.seed, indices, INITIAL), model.latent_shape)


@torch.no_grad()
def sample_latents(
    model: GenerativeModel,
    sampler: Sampler,
    indices: Sequence[int],
    initial_noise: Tensor | None = None,
    observers: Sequence[Observer] = (),
    steering: Steering | None = None,
) -> Tensor:
    """Run the solver for the samples `indices` as one batch.

    Args:
        initial_noise: in place of the samples' own x_T, (B, *latent_shape).
        observers: called after every stage.
        steering: None lets the solver go its way.

    Returns:
        Final latents (B, *latent_shape).

    Raises:
        NonFiniteError: the samples diverged.
    """
    noise = sampler.initial_noise(model, indices) if initial_noise is None else initial_noise
    solver = sampler.solver
    if isinstance(solver, SchedulerSolver) and solver.directly and not observers and steering is None:
        sampler.check(model)
        y = _classes_there(model, sampler, indices)
        scale = sampler.guidance_scale
        return sample_directly(model, solver, sampler.steps, noise.to(model.device), y, scale, sampler.seed, indices)
    stages = sampler.stages(model)
    x = stages[0].initial_state(model.process, noise.to(model.device))
    return run_stages(model, sampler, indices, x, stages, observers=observers, steering=steering)


@torch.no_grad()
def run_stages(
    model: GenerativeModel,
    sampler: Sampler,
    indices: Sequence[int],
    x: Tensor,
    stages: Sequence[AffineStage],
    passed: Sequence[AffineStage] = (),
    observers: Sequence[Observer] = (),
    steering: Steering | None = None,
) -> Tensor:
    """Carry the states x (B, *latent_shape) through stages of the sampler's solver.

    Args:
        passed: the stages before these, whose ancestral noise is spent: the noise goes on behind it.
        observers, steering: see `sample_latents`.

    Raises:
        ConfigurationError: states of another shape.
        NonFiniteError: the samples diverged.
    """
    if tuple(x.shape) != (len(indices), *model.latent_shape):
        raise ConfigurationError(
            f"states of shape {tuple(x.shape)} for {len(indices)} samples: give one of {model.latent_shape} for each."
        )
    device, steering = model.device, steering or Steering()
    y = _classes_there(model, sampler, indices)
    noisy = any(stage.noise for stage in stages)
    ancestral = generators(sampler.seed, indices, ANCESTRAL) if noisy else []
    for stage in passed:
        if noisy and stage.noise:
            normal(ancestral, model.latent_shape)
    states: list[Tensor] = []
    predictions: list[Tensor] = []
    memory = max(max(len(stage.x), len(stage.f)) for stage in stages)
    for stage in stages:
        t = torch.full((len(x),), stage.t, device=device, dtype=x.dtype)
        states = [x, *states][:memory]
        prediction, deviation = _answered(model, stage, x, t, y, sampler.guidance_scale)
        prediction = steering.prediction(stage, x, prediction)
        if sampler.clip_x0:
            prediction = clipped(model, stage.t, x, prediction)
        predictions = [prediction, *predictions][:memory]
        noise = normal(ancestral, model.latent_shape).to(device) if stage.noise else None
        if noise is not None and stage.noise_high is not None:
            noise = noise * torch.as_tensor(deviation / stage.noise).to(noise)
        x = steering.state(stage, apply(stage, states, predictions, noise))
        for observer in observers:
            observer(StageRecord(stage, states, predictions, noise, x, deviation))
    require_finite(x, "the samples", "The sampler diverged: use more steps, or check the weights.")
    return x


def _answered(
    model: GenerativeModel, stage: AffineStage, x: Tensor, t_B: Tensor, y_B: Tensor | None, scale: float
) -> tuple[Tensor, Tensor | float]:
    """(the guided prediction at states x, the standard deviation of the noise that the stage adds), of one pass."""
    if stage.noise_high is None:
        return model.guided(x, t_B, y_B, scale, stage.network_times(x)), stage.noise
    prediction, said = model.guided_with_variance(x, t_B, y_B, scale, stage.network_times(x))
    return prediction, stage.learned_noise(said.double())


def _classes_there(model: GenerativeModel, sampler: Sampler, indices: Sequence[int]) -> Tensor | None:
    """The class of each sample (B,) on the model's device."""
    y = sampler.classes_of(model, indices)
    return None if y is None else y.to(model.device)


def clipped(model: GenerativeModel, t: float, x: Tensor, prediction: Tensor) -> Tensor:
    """The prediction whose x0_hat is that of `prediction`, clipped to [-1, 1]; the same wherever it lies within.

    Args:
        x, prediction: (B, *shape) at the time t.
    """
    on_x, on_f = (float(number) for number in conversion(model.prediction, model.process, t)[:2])
    x0 = on_x * x + on_f * prediction
    return prediction + (x0.clamp(-1, 1) - x0) / on_f


@torch.no_grad()
def sample(
    model: GenerativeModel,
    sampler: Sampler,
    indices: Sequence[int],
    initial_noise: Tensor | None = None,
    progress: Progress | None = None,
    observers: Sequence[Observer] = (),
) -> Tensor:
    """Images (or points) of the samples `indices`, float32 on the CPU; images in [-1, 1], clamped.

    Args:
        initial_noise: in place of the samples' own, (N, *latent_shape).
        progress: called with the number of samples that each batch finished.
        observers: called after every stage of every batch.

    Raises:
        ConfigurationError: classes, guidance, steps or a batch size that cannot work, or no samples asked for.
        NonFiniteError: NaN or infinite weights, or samples that diverged.
    """
    sampler.check(model)
    model.check_weights()
    if not len(indices):
        raise ConfigurationError("No samples are asked for: the list of their indices is empty.")
    images = []
    with evaluating(model):
        for start in range(0, len(indices), sampler.batch_size):
            span = slice(start, start + sampler.batch_size)
            noise = None if initial_noise is None else initial_noise[span]
            images.append(finished(model, sample_latents(model, sampler, indices[span], noise, observers)))
            if progress:
                progress(len(images[-1]))
    return torch.cat(images)


def finished(model: GenerativeModel, latents: Tensor) -> Tensor:
    """Latents decoded to images, films or points, float32 on the CPU; images and films in [-1, 1], clamped."""
    decoded = model.autoencoder.decode(latents)
    return (decoded.clamp(-1, 1) if len(model.shape) >= 3 else decoded).float().cpu()


def to_bytes(images: Tensor) -> Tensor:
    """Images (..., C, H, W) in [-1, 1] as uint8."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def to_unit(images: Tensor) -> Tensor:
    """Images in [-1, 1] as floats in [0, 1], as extractors take them, without rounding to grey levels."""
    return ((images + 1) / 2).clamp(0, 1)
