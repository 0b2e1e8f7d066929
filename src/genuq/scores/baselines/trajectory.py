"""Two baselines that look at the predictions along a trajectory: how much they vary from step to step, and how much
they vary when the state is noised again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genuq.models import GenerativeModel, Sampler, StageRecord
from genuq.parts.bounds import Several, Window, check
from genuq.randomness import normal
from genuq.scores.baselines.watching import StepWatcher
from genuq.scores.registry import SCORES


@SCORES.add(
    name="trajectory_variance",
    label="Trajectory variance",
    description="How much the estimate of the clean image changes over the steps of the sampler.",
    kind="baseline",
    source="trajectory",
)
class TrajectoryVariance(StepWatcher):
    """Variance of the predicted x0_hat over the last steps, summed over the dimensions; no further evaluations.

    A sample that falls between two modes changes its mind late. Biased variance, as in the paper; the sum over
    dimensions, the window as a fraction of the steps, and the latent space for latent models are ours.
    Source: Aithal et al., Understanding Hallucinations in Diffusion Models through Mode Interpolation, NeurIPS 2024,
        arXiv 2406.09358, section 5.
    """

    least_steps = 2

    def __init__(
        self, model: GenerativeModel, sampler: Sampler, indices: Sequence[int], window: Window = (0.8, 1.0)
    ) -> None:
        super().__init__(model, sampler, indices, window)
        self.count, self.mean, self.squares = 0, torch.zeros(()), torch.zeros(())

    def look(self, record: StageRecord) -> None:
        """Welford's update of the mean and of the sum of squared deviations."""
        x0_x, x0_f, _, _ = self.hats(record.stage.t)
        x0 = x0_x * record.states[0].double() + x0_f * record.predictions[0].double()
        self.count += 1
        before = x0 - self.mean.to(x0)
        self.mean = self.mean.to(x0) + before / self.count
        self.squares = self.squares.to(x0) + before * (x0 - self.mean)

    def score(self) -> Tensor:
        return self.squares.flatten(1).sum(1) / self.count


@SCORES.add(
    name="aleatoric",
    label="Aleatoric variance (AU)",
    description="How much the predicted noise varies when the estimate of the clean image is noised again on the way.",
    kind="baseline",
    source="trajectory",
    keys={"repeats": "renoisings"},
)
class AleatoricVariance(StepWatcher):
    """Variance of the predicted noise over fresh noisings of x0_hat, summed over dimensions and over a window of steps.

    At each step of the window the current x0_hat is noised `repeats` times to the step's own time,
    x^m = alpha x0_hat + sigma xi_m, and eps_hat(x^m) predicted: where the data's density curves, it varies with xi_m.
    Ours: the unbiased variance, the window as a fraction of the steps, and noise keyed by sample.

    Args:
        repeats: fresh noisings at each step, at least 2.
    Source: De Vita and Belagiannis, Diffusion Model Guided Sampling with Pixel-Wise Aleatoric Uncertainty Estimation,
        WACV 2025, arXiv 2412.00205, section 3.
    """

    def __init__(
        self,
        model: GenerativeModel,
        sampler: Sampler,
        indices: Sequence[int],
        repeats: Several = 5,
        window: Window = (0.8, 1.0),
    ) -> None:
        super().__init__(model, sampler, indices, window)
        check("score.renoisings", repeats, Several)
        self.repeats = repeats
        self.sources = self.keyed("renoising")
        self.total_B = torch.zeros(len(indices), dtype=torch.float64)

    def look(self, record: StageRecord) -> None:
        x, t = record.states[0], record.stage.t
        x0_x, x0_f, eps_x, eps_f = self.hats(t)
        x0 = x0_x * x + x0_f * record.predictions[0]
        alpha, sigma = float(self.model.process.alpha(t)), float(self.model.process.sigma(t))
        noises = []
        for _ in range(self.repeats):
            noise = normal(self.sources, x.shape[1:]).to(x)
            renoised = alpha * x0 + sigma * noise
            noises.append((eps_x * renoised + eps_f * self.predict(renoised, t)).double())
        self.total_B += torch.stack(noises).var(0).flatten(1).sum(1).cpu()

    def score(self) -> Tensor:
        return self.total_B
