"""Uncertainty guidance: while sampling, move the pixels whose predicted noise depends most on the noise that was added.

At each step of a window, with the predicted x0_hat:
    1. noise it M times to the step's own time, x^m = alpha x0_hat + sigma xi_m, and predict x0^m and eps^m from each;
    2. the uncertainty of a pixel is the variance of eps^m over m, its region the highest share of the image's pixels;
    3. inside the region x0_hat is moved towards the mean of x0^m, by `strength`; the solver's step goes on with that.
Steps 1 and 2 are De Vita and Belagiannis's. Their step 3 follows a gradient of the uncertainty at the chosen pixels;
ours needs none, as the M predictions are there already: for small noise the mean of x0^m is the denoiser applied once
more, which moves a pixel along its predicted direction, towards where the added noise no longer matters. So this is a
relative of their method, not a reproduction. Control: the plain sampler with more steps, at no fewer network
evaluations.

Source: De Vita and Belagiannis, WACV 2025, arXiv 2412.00205, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from genuq.applications.finished_run import FinishedRun, Made, Sampling
from genuq.applications.outcome import SET_METRICS, Judge, Outcome, Replicates, Rows, clause
from genuq.applications.regions import on_images, uncertain_region
from genuq.applications.register import APPLICATIONS
from genuq.errors import ConfigurationError, DataError
from genuq.metrics.checks import Features
from genuq.models import GenerativeModel, Sampler, Steering, evaluating, finished, metered, sample, sample_latents
from genuq.parts.bounds import Count, OneOf, Several, Share, Window, check_fields
from genuq.processes import conversion
from genuq.randomness import generators, normal, uniform
from genuq.scores.baselines import steps_in
from genuq.solvers import AffineStage

PIXELS = ("uncertain", "random")
CONTROL = "the plain sampler with more steps, at no fewer network evaluations"


@dataclass(frozen=True)
class Guidance:
    """How to guide.

    Attributes:
        window: the steps in which to move, as fractions of all steps; (0.4, 0.8) are the third and the fourth fifth.
        renoisings: M, network evaluations of each such step (twice as many under classifier-free guidance).
        region: share of the pixels, those of the highest variance, that move.
        strength: how far, 1 goes all the way to the mean.
        pixels: which ones move, the `uncertain`, or as many at `random`: does it matter where they are?
    """

    window: Window = (0.4, 0.8)
    renoisings: Several = 4
    region: Share = 0.2
    strength: Share = 1.0
    pixels: Annotated[str, OneOf(*PIXELS)] = "uncertain"

    def __post_init__(self) -> None:
        check_fields(self, "application")


class UncertaintyGuidance(Steering):
    """Steers one batch.

    Attributes:
        visited: bool (B, 1, h, w), the pixels that were moved at any step.
    """

    def __init__(self, model: GenerativeModel, sampler: Sampler, indices: Sequence[int], how: Guidance) -> None:
        self.model, self.sampler, self.how = model, sampler, how
        classes = sampler.classes_of(model, indices)
        self.classes = None if classes is None else classes.to(model.device)
        steps = [stage for stage in sampler.stages(model) if not stage.intermediate]
        self.steps = steps_in(how.window, len(steps))
        self.sources, self.pixel_sources = (
            generators(sampler.seed, indices, stream) for stream in ("guidance noise", "guidance pixels")
        )
        self.step, self._starts_step = 0, True
        self.visited = torch.zeros(len(indices), 1, *model.latent_shape[1:], dtype=torch.bool)

    def prediction(self, stage: AffineStage, x: Tensor, prediction: Tensor) -> Tensor:
        moves = self._starts_step and self.step in self.steps
        self._starts_step = not stage.intermediate
        self.step += self._starts_step
        return self._moved(stage, x, prediction) if moves else prediction

    def _moved(self, stage: AffineStage, x: Tensor, prediction: Tensor) -> Tensor:
        x0_x, x0_f, eps_x, eps_f = (
            float(number) for number in conversion(self.model.prediction, self.model.process, stage.t)
        )
        alpha, sigma = float(self.model.process.alpha(stage.t)), float(self.model.process.sigma(stage.t))
        x0 = x0_x * x + x0_f * prediction
        hats, noises = [], []
        for _ in range(self.how.renoisings):
            renoised = alpha * x0 + sigma * normal(self.sources, x.shape[1:]).to(x)
            answer = self._predict(renoised, stage)
            hats.append(x0_x * renoised + x0_f * answer)
            noises.append((eps_x * renoised + eps_f * answer).double())
        ranked = torch.stack(noises).var(0)
        if self.how.pixels == "random":
            ranked = uniform(self.pixel_sources, (1, *ranked.shape[2:])).to(ranked)
        region = uncertain_region(ranked, self.how.region)
        self.visited |= region.cpu()
        move = self.how.strength * (torch.stack(hats).mean(0) - x0)
        return prediction + torch.where(region, move, 0.0) / x0_f

    def _predict(self, x: Tensor, stage: AffineStage) -> Tensor:
        t_B = torch.full((len(x),), stage.t, device=x.device, dtype=x.dtype)
        return self.model.guided(x, t_B, self.classes, self.sampler.guidance_scale, stage.network_times(x))


@dataclass(frozen=True)
class Guided:
    """Guided samples beside plain ones at equal cost, float32 on the CPU.

    Attributes:
        index: (B,) of the samples.
        ours: guided (B, C, H, W).
        control: of the plain sampler with `plain_sampler`'s steps, from the same noise.
        before: of the plain sampler with as many steps as ours.
        region: bool (B, 1, H, W), the pixels that were moved at any step.
        evaluations: (B,) of the network for a guided sample, as counted; control_evaluations: for one of the control.
    """

    index: Tensor
    ours: Tensor
    control: Tensor
    before: Tensor
    region: Tensor
    evaluations: Tensor
    control_evaluations: Tensor


def evaluations_of(model: GenerativeModel, sampler: Sampler, how: Guidance) -> int:
    """Network evaluations of a guided sample."""
    steps = [stage for stage in sampler.stages(model) if not stage.intermediate]
    branches = 1 if sampler.guidance_scale == 1.0 or not model.num_classes else 2
    return sampler.evaluations(model) + len(steps_in(how.window, len(steps))) * how.renoisings * branches


def plain_sampler(model: GenerativeModel, sampler: Sampler, how: Guidance) -> Sampler:
    """The control: the same sampler with the fewest steps that cost no less than guidance does."""
    wanted, steps = evaluations_of(model, sampler, how), sampler.steps
    while replace(sampler, steps=steps).evaluations(model) < wanted:
        steps += 1
    return replace(sampler, steps=steps)


@torch.no_grad()
def guide(model: GenerativeModel, sampler: Sampler, indices: Sequence[int], how: Guidance | None = None) -> Guided:
    """Sample `indices` (one batch) with guidance, and plainly with more steps."""
    how = how or Guidance()
    steering = UncertaintyGuidance(model, sampler, indices, how)
    with metered(model) as meter, evaluating(model):
        with meter.charging("ours"):
            ours = finished(model, sample_latents(model, sampler, indices, steering=steering))
        with meter.charging("control"):
            control = sample(model, plain_sampler(model, sampler, how), indices)
        before = sample(model, sampler, indices)
    spent = meter.per_sample(len(indices))
    costs = (torch.full((len(indices),), spent[name], dtype=torch.float64) for name in ("ours", "control"))
    region = on_images(steering.visited, model.shape)
    return Guided(torch.tensor(list(indices)), ours, control, before, region, *costs)


def guidance_outcome(
    found: Guided,
    judge: Judge,
    classes: Tensor | None,
    real_RD: Features | None = None,
    k: int = 5,
    replicates: Replicates | None = None,
    halves: int = 100,
) -> Outcome:
    """Every measure of the judge beside the control's, paired by the noise that the samples start from.

    The row `MEASURE_gain` is the change of the first measure against the plain sampler with as many steps, for which
    more evaluations need not be better.

    Args:
        real_RD: features of real samples: FID, precision and recall are measured too, with k neighbours and half-sample
            intervals. A move towards what is typical raises confidence and realism; recall says what it costs.
    """
    replicates, rows = replicates or Replicates(), Rows()
    ours, control = judge(found.ours, classes), judge(found.control, classes)
    for name, values in ours.measures.items():
        rows.means(name, (values, control.measures[name]), replicates)
    before = judge(found.before, classes)
    first = ours.primary
    rows.means(f"{first}_gain", (side.measures[first] - before.measures[first] for side in (ours, control)), replicates)
    if real_RD is not None:
        try:
            rows.sets((ours.features_ND, control.features_ND), real_RD, k, halves, replicates)
        except (ConfigurationError, DataError) as error:
            rows.notes.append(f"No {', '.join(SET_METRICS)}: {error}")
    cost, plain_cost = float(found.evaluations.mean()), float(found.control_evaluations.mean())
    gain = next(row.ours for row in rows.found if row.measure == f"{first}_gain")
    sentence = (
        f"Guiding {len(found.ours)} samples by their uncertainty ({cost:g} network evaluations each): "
        f"{clause(rows.found[0], f'the plain sampler with more steps ({plain_cost:g} evaluations)')}; "
        f"against as many steps without guidance it changes by {gain.value:+.3g} "
        f"(95% interval {gain.low:+.3g} to {gain.high:+.3g})."
    )
    settings = {
        "evaluations": cost,
        "control_evaluations": plain_cost,
        "samples": len(found.ours),
        "moved_share": float(found.region.double().mean()),
    }
    return Outcome("guide", CONTROL, settings, rows.found, sentence, rows.notes)


@dataclass(frozen=True)
class GuideSettings(Guidance):
    """How to guide the samples of a run.

    Attributes:
        samples: how many of them, the first ones.
    """

    samples: Count = 64


def make_guided(how: GuideSettings, known: Sampling, indices: list[int]) -> Guided:
    """`guide` with what is known of the run."""
    return guide(known.model, known.sampler, indices, how)


@APPLICATIONS.add(
    name="guide",
    label="Guide",
    settings=GuideSettings,
    control=CONTROL,
    make_samples=make_guided,
    needs_images=True,
    resamples=("half_samples",),
)
def run_guide(known: FinishedRun, how: GuideSettings) -> Made:
    """Move the pixels whose predicted noise is uncertain while sampling.

    Examples: the plain sample, the guided one, the control, and the pixels that were moved at any step.
    """
    made = known.in_batches(range(how.samples), Guided, partial(make_guided, how, known))
    classes, real = known.classes_at(made.index), known.real
    outcome = guidance_outcome(made, known.judge, classes, real, known.k, known.replicates, known.half_samples)
    images = {"before": made.before, "after": made.ours, "control": made.control}
    return outcome, known.examples(made.index, images, made.region)
