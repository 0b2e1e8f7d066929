"""IVON: a fine-tuning that learns a Gaussian over the weights, a mean and a variance for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from genuq.data import Dataset
from genuq.models import GenerativeModel
from genuq.posteriors.members import prior_sizes
from genuq.randomness import generator
from genuq.training.member_settings import OnlineNewton
from genuq.training.modules import Regression
from genuq.training.optimisation import Optimisation

Noise = Callable[[int, int], Sequence[Tensor]]
STREAM = "variational weights"


class IvonOptimiser(torch.optim.Optimizer):
    """The improved variational online Newton method for q = N(m, 1 / (lambda (h + delta))).

    It minimises lambda E_q[l(theta)] + KL(q || prior) for a mean loss l and the prior N(c, 1 / (lambda delta)). The
    parameters hold the mean m. A step takes draws theta = m + sigma xi, sigma^2 = 1 / (lambda (h + delta)), and with
    the gradient g of l at them
        g_bar = beta1 g_bar + (1 - beta1) mean(g),
        h_hat = mean(g (theta - m)) / sigma^2,
        h     = beta2 h + (1 - beta2) h_hat + (1 - beta2)^2 (h - h_hat)^2 / (2 (h + delta)),
        m     = m - rate clip((g_bar / (1 - beta1^k) + delta (m - c)) / (h + delta)).
    h + delta stays above 0: a step at most halves it. Where l is quadratic the method ends at the diagonal of its
    Hessian and at the exact mean of the posterior. Multiplying l, the curvature and delta by a constant and dividing
    lambda by it changes nothing.

    Args:
        groups: one of each parameter: `params`, `centre` c (zeros, the paper's, where it is None) and `delta`.
        rate: learning rate, a share of the Newton step. (The paper's optional rescaling of it is not made.)
        effective_size: lambda.
        settings: the rest.
        noise: of step k and draw i: xi of each parameter, standard normal.

    Source: Shen et al., ICML 2024, arXiv 2402.17641, algorithm 1.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        rate: float,
        effective_size: float,
        settings: OnlineNewton,
        noise: Noise,
    ) -> None:
        groups = list(groups)
        self.centres = [group.pop("centre", None) for group in groups]  # not part of what a checkpoint keeps
        self.effective_size, self.settings, self.noise = effective_size, settings, noise
        super().__init__(groups, {"lr": rate, "delta": 0.0, "done": 0})
        for group in self.param_groups:
            for value in group["params"]:
                self.state[value]["average"] = torch.zeros_like(value)
                self.state[value]["curvature"] = torch.full_like(value, settings.hess_init)

    @property
    def values(self) -> list[Tensor]:
        return [group["params"][0] for group in self.param_groups]

    def variances(self) -> list[Tensor]:
        """Of the weights, in the order of the groups."""
        return [
            1 / (self.effective_size * (self.state[value]["curvature"] + group["delta"]))
            for value, group in zip(self.values, self.param_groups)
        ]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """One step.

        Args:
            closure: computes the loss and its gradients at the present parameters, from zero; called for each draw.
        """
        values, sizes = self.values, [variance.sqrt() for variance in self.variances()]
        means = [value.clone() for value in values]
        gradients, products = ([torch.zeros_like(value) for value in values] for _ in range(2))
        draws, done = self.settings.mc_samples, self.param_groups[0]["done"]
        for i in range(draws):
            noise = [part.to(value) for part, value in zip(self.noise(done, i), values)]
            for value, mean, size, xi in zip(values, means, sizes, noise):
                value.copy_(mean + size * xi)
            with torch.enable_grad():
                loss = closure()
            for value, gradient, product, xi in zip(values, gradients, products, noise):
                if value.grad is not None:
                    gradient += value.grad / draws
                    product += value.grad * xi / draws
        for number, value in enumerate(values):
            value.copy_(means[number])
            self._update(number, gradients[number], products[number] / sizes[number])
        return loss

    def _update(self, number: int, gradient: Tensor, curvature: Tensor) -> None:
        """Of one parameter, with the mean gradient and the estimate of the curvature."""
        group, chosen = self.param_groups[number], self.settings
        value, centre, delta = self.values[number], self.centres[number], group["delta"]
        state = self.state[value]
        group["done"] += 1
        state["average"].lerp_(gradient, 1 - chosen.beta1)
        before = state["curvature"]
        correction = (1 - chosen.beta2) ** 2 * (before - curvature).square() / (2 * (before + delta))
        state["curvature"] = before.lerp(curvature, 1 - chosen.beta2) + correction
        pull = value if centre is None else value - centre.to(value)
        unbiased = state["average"] / (1 - chosen.beta1 ** group["done"])
        newton = (unbiased + delta * pull) / (state["curvature"] + delta)
        radius = chosen.clip_radius
        value.sub_(group["lr"] * (newton if radius is None else newton.clamp(-radius, radius)))


class VariationalTraining(Regression):
    """Fine-tunes mean and variances of the weights with IVON, from the trained ones.

    The loss is the mean squared error over data and elements: with N data of E elements and residuals of variance s^2
    the negative log-likelihood is N E / (2 s^2) times it, which is the method's effective sample size. The prior lies
    around the trained weights and has the size that it has for `AnchoredTraining`.

    Args:
        model: a working copy; its weights become the mean.
        relative_size: standard deviation of the prior over the root mean square of each tensor.
        observation_noise: s^2, variance of the residual.
        n_effective: N, data that the likelihood counts.
        settings: of the optimiser; its `mc_samples` draws a step see the same batch and the same noise of the data.
    """

    group = "posterior"
    clips = False

    def __init__(
        self,
        model: GenerativeModel,
        dataset: Dataset,
        optimisation: Optimisation,
        relative_size: float,
        observation_noise: float,
        n_effective: float,
        settings: OnlineNewton,
    ) -> None:
        super().__init__(model, dataset, optimisation)
        self.settings = settings
        elements = torch.Size(model.latent_shape).numel()
        self.effective_size = n_effective * elements / (2 * observation_noise)
        trained = {name: value for name, value in model.network.named_parameters() if value.requires_grad}
        self.names, self.sizes = list(trained), prior_sizes(trained, relative_size)
        for number, name in enumerate(self.names):
            self.register_buffer(f"centre_{number}", trained[name].detach().clone(), persistent=False)
        self.optimiser: IvonOptimiser | None = None

    def configure_optimizers(self) -> Any:
        groups = [
            {
                "params": [self.model.network.get_parameter(name)],
                "centre": self.get_buffer(f"centre_{number}"),
                "delta": 1 / (self.effective_size * self.sizes[name] ** 2),
            }
            for number, name in enumerate(self.names)
        ]
        self.optimiser = IvonOptimiser(
            groups, self.optimisation.learning_rate, self.effective_size, self.settings, self.noise
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, self.rate)
        return {"optimizer": self.optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def noise(self, step: int, draw: int) -> list[Tensor]:
        """Standard normal of each weight, keyed by (seed, step, pair): the same on all processes.

        Draw 2 i + 1 is draw 2 i with the other sign, so that what the gradient is at the mean cancels in the curvature.
        """
        source = generator(self.optimisation.seed, step, f"{STREAM}, pair {draw // 2}")
        sign = -1 if draw % 2 else 1
        return [
            sign * torch.randn(self.model.network.get_parameter(name).shape, generator=source) for name in self.names
        ]

    def learnt(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(means, variances) of the weights by name, as a posterior takes them; of frozen weights the means alone."""
        assert self.optimiser is not None
        means = {name: value.detach() for name, value in self.model.network.named_parameters()}
        return means, dict(zip(self.names, self.optimiser.variances()))
