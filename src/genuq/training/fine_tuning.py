"""Going on from a trained checkpoint: randomised MAP around it, and snapshots at a constant rate.

Both work on a copy of the model, so that the trained one is never touched.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genuq.data import Dataset
from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel
from genuq.models.offloaded import require_resident
from genuq.posteriors.low_rank import LowRank, attach
from genuq.posteriors.members import prior_sizes
from genuq.posteriors.swag import Swag
from genuq.randomness import generator, generators, normal
from genuq.training.batches import TrainingBatch
from genuq.training.modules import Regression
from genuq.training.optimisation import Optimisation

ANCHOR, TARGETS = "anchor", "target noise"


def anchored_loss(
    prediction: Tensor,
    target: Tensor,
    weights: Mapping[str, Tensor],
    anchors: Mapping[str, Tensor],
    sizes: Mapping[str, float],
    observation_noise: float,
    n_effective: float,
) -> Tensor:
    """Negative log posterior around an anchor, in units in which the likelihood is the mean squared error.

    With N data of E elements, f - y ~ N(0, s^2) and a prior theta_j ~ N(a_j, size_j^2) around the anchor,
        -log p = sum_n |f_n - y_n|^2 / (2 s^2) + sum_j (theta_j - a_j)^2 / (2 size_j^2) + constant,
    and times 2 s^2 / (N E)
        sum_n |f_n - y_n|^2 / (N E) + s^2 / (N E) sum_j (theta_j - a_j)^2 / size_j^2.
    The first term is the mean squared error over data and elements: that of a minibatch estimates it without bias.
    Minimised for anchors drawn from the prior and targets y + s xi, a model linear in its weights gives exact samples
    of its Gaussian posterior (randomise, then optimise).

    Args:
        prediction, target: (B, ...); E is the size of the rest.
        sizes: standard deviation of the prior by the weights' names.
        observation_noise: s^2.
        n_effective: N.
    Source: Pearce et al. 2020, Uncertainty in Neural Networks: Approximately Bayesian Ensembling, eq. 9, with their
        lambda written out; Lu and Van Roy 2017, Ensemble Sampling; Bardsley et al. 2014.
    """
    distances = [((weights[name] - anchors[name]) / sizes[name]).square().sum() for name in weights]
    strength = observation_noise / (n_effective * prediction[0].numel())
    return F.mse_loss(prediction, target) + strength * torch.stack(distances).sum()


def anchor(weights: Mapping[str, Tensor], sizes: Mapping[str, float], seed: int) -> dict[str, Tensor]:
    """A draw from the prior around `weights`, keyed by seed and name."""
    return {
        name: value.detach()
        + sizes[name] * torch.randn(value.shape, generator=generator(seed, 0, f"{ANCHOR} of {name}")).to(value)
        for name, value in weights.items()
    }


def target_noise(indices: Tensor, shape: tuple[int, ...], seed: int) -> Tensor:
    """Standard normal (B, *shape) that belongs to the image, whenever it is seen."""
    return normal(generators(seed, indices, TARGETS), shape)


def require_single_precision(network: nn.Module) -> None:
    """Raise ConfigurationError for weights in half precision, in which steps are rounded away."""
    halves = [name for name, value in network.named_parameters() if value.dtype.itemsize < 4]
    if halves:
        raise ConfigurationError(
            f"weight '{halves[0]}' is {network.get_parameter(halves[0]).dtype}: fine-tuning needs float32. Load the "
            "network in float32; precision=bf16-mixed makes the training fast."
        )


def working_copy(model: GenerativeModel) -> GenerativeModel:
    """A copy to be trained: dropout as in training, batch statistics as they are, frozen weights frozen.

    A network whose weights are all frozen was frozen for sampling: all of its weights are trained.

    Raises:
        ConfigurationError: weights in half precision, in which steps are rounded away, or an offloaded network.
    """
    require_resident(model.network, "training")
    require_single_precision(model.network)
    copied = copy.deepcopy(model)
    copied.zero_grad(set_to_none=True)
    copied.autoencoder.eval()
    if not any(value.requires_grad for value in copied.network.parameters()):
        copied.network.requires_grad_(True)
    copied.network.train()
    for part in copied.network.modules():
        if isinstance(part, nn.modules.batchnorm._NormBase):
            part.eval()
    return copied


class AnchoredTraining(Regression):
    """One member by randomised MAP: starts at its anchor, a draw from the prior around the trained weights.

    With a rank, the member moves within a random subspace of its own: the rows of each Linear or Conv2d weight within
    the span of r random directions. The prior keeps the size that it has for the whole tensor.

    Args:
        model: a working copy; it becomes the member.
        relative_size: standard deviation of the prior over the root mean square of each tensor.
        observation_noise: s^2, variance of the residual.
        n_effective: data that the likelihood counts.
        perturb_targets: add s xi to the targets, xi fixed for each image; exact sampling needs it.
    """

    group = "posterior"

    def __init__(
        self,
        model: GenerativeModel,
        dataset: Dataset,
        optimisation: Optimisation,
        relative_size: float,
        observation_noise: float,
        n_effective: float,
        perturb_targets: bool = True,
        rank: int | None = None,
    ) -> None:
        super().__init__(model, dataset, optimisation)
        self.observation_noise, self.n_effective = observation_noise, n_effective
        self.perturb_targets, self.rank = perturb_targets, rank
        if rank is None:
            self.learnt: dict[str, Tensor] = {n: v for n, v in model.network.named_parameters() if v.requires_grad}
            self.sizes = prior_sizes(self.learnt, relative_size)
        else:
            self.learnt, self.sizes = self._adapted(model.network, rank, relative_size)
        self.names = list(self.learnt)
        for number, (name, value) in enumerate(anchor(self.learnt, self.sizes, optimisation.seed).items()):
            self.register_buffer(f"anchor_{number}", value, persistent=False)
            self.learnt[name].data.copy_(value)

    def _adapted(
        self, network: nn.Module, rank: int, relative_size: float
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Adapters' columns and their prior: r of K directions carry the variance that all K would."""
        trained = {name: value.detach() for name, value in network.named_parameters()}
        self.adapters: dict[str, LowRank] = attach(network, rank, self.optimisation.seed, 0)
        whole = prior_sizes({name: trained[name] for name in self.adapters}, relative_size)
        sizes = {n: whole[n] * (part.down.shape[1] / part.down.shape[0]) ** 0.5 for n, part in self.adapters.items()}
        return {name: part.up for name, part in self.adapters.items()}, sizes

    def batch_loss(self, batch: TrainingBatch) -> Tensor:
        prediction, target = self.predicted(batch)
        if self.perturb_targets:
            assert batch.indices is not None
            noise = target_noise(batch.indices.cpu(), self.model.latent_shape, self.optimisation.seed)
            target = target + self.observation_noise**0.5 * noise.to(target)
        anchors = {name: self.get_buffer(f"anchor_{number}") for number, name in enumerate(self.names)}
        return anchored_loss(
            prediction, target, self.learnt, anchors, self.sizes, self.observation_noise, self.n_effective
        )

    def weights(self) -> dict[str, Tensor]:
        """The member as a posterior takes it; with a rank, its adapted weights only."""
        if self.rank is None:
            return {name: value.detach() for name, value in self.model.network.named_parameters()}
        trained = {name: self.model.network.get_parameter(_original(name)) for name in self.adapters}
        return {name: part(trained[name]).detach() for name, part in self.adapters.items()}


def _original(name: str) -> str:
    """Where torch keeps a weight that an adapter sits on."""
    layer, _, weight = name.rpartition(".")
    return f"{layer}.parametrizations.{weight}.original".lstrip(".")


class SnapshotTraining(Regression):
    """Goes on at a constant rate and gives snapshots of the weights to a SWAG posterior.

    Args:
        model: a working copy.
        posterior: over the trained network itself, empty.
        snapshots: evenly over the steps, the last at the end.
    """

    group = "posterior"
    done: Tensor

    def __init__(
        self, model: GenerativeModel, dataset: Dataset, optimisation: Optimisation, posterior: Swag, snapshots: int
    ) -> None:
        super().__init__(model, dataset, optimisation)
        self.posterior, self.snapshots = posterior, snapshots
        self.register_buffer("done", torch.zeros((), dtype=torch.long))

    def rate(self, step: int) -> float:
        return min(1.0, (step + 1) / self.optimisation.warmup_steps)

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """Snapshots are taken here, not in a hook after the batch: the checkpoint is written before those."""
        super().optimizer_step(*arguments, **options)
        self.done += 1
        now, before = (int(self.done - i) * self.snapshots // self.optimisation.steps for i in (0, 1))
        if now > before:
            self.posterior.update(dict(self.model.network.named_parameters()))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["swag"] = {"sums": dict(self.posterior.sums()), "n_seen": self.posterior.n_seen}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.posterior.restore(checkpoint["swag"]["sums"], checkpoint["swag"]["n_seen"])
