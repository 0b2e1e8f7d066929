"""IVON: a diagonal Gaussian over all weights that a training has learnt together with its mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genuq.errors import ArtefactError, require_finite
from genuq.posteriors.members import MembersPosterior, prior_sizes
from genuq.posteriors.register import POSTERIORS
from genuq.randomness import WEIGHTS, generator

GUESSED = 0.05  # of the curvature: more of its first guess left, and it says little of the data


@POSTERIORS.add(
    label="IVON",
    description="A Gaussian with a mean and a variance for each weight, learnt by a variational online Newton method.",
)
class Ivon(MembersPosterior):
    """N(mean, diagonal), with the mean and the variances that variational fine-tunings have ended at.

    The variances are 1 / (lambda (h + delta)): h the diagonal curvature of the loss, lambda the effective sample size,
    lambda delta the precision of the prior around the trained weights (`genuq.training.variational`). Draws lie around
    the learnt mean, the unperturbed sample has the trained weights: `relative_shift` is the distance between the two,
    which no temperature changes. Of several fine-tunings it has the mean and the variances of their mixture.

    Args:
        prior_relative_size: standard deviation of the prior over the root mean square of each tensor.
        initial_share: beta2 ** steps, what is left in the curvature of its first guess `hess_init`.

    Source: Shen et al., Variational Learning is Effective for Large Deep Networks, ICML 2024, arXiv 2402.17641.
    """

    kind = "ivon"

    def __init__(self, module: nn.Module, prior_relative_size: float = 0.02, initial_share: float = 0.0) -> None:
        super().__init__(module)
        self.prior_relative_size, self.initial_share = prior_relative_size, initial_share
        # of deviations from the trained weights: they are small, so that the squares lose no digits
        zeros = {name: torch.zeros(value.shape, dtype=torch.float64) for name, value in self.covered().items()}
        self._first, self._second = zeros, {name: value.clone() for name, value in zeros.items()}

    def options(self) -> dict[str, Any]:
        return {"prior_relative_size": self.prior_relative_size, "initial_share": self.initial_share}

    def update(self, inputs: Mapping[str, Tensor], gradients: Mapping[str, Tensor] | None = None) -> None:
        """Add the end of one fine-tuning.

        Args:
            inputs: means of all weights by name.
            gradients: their variances; weights that are not named have none, as where they are frozen.

        Raises:
            CheckpointError: as `MembersPosterior.update`.
            ArtefactError: a variance below 0.
            NonFiniteError: NaN or infinite means or variances.
        """
        variances = {name: value.detach().cpu().double() for name, value in (gradients or {}).items()}
        for name, value in variances.items():
            require_finite(value, f"variance of weight '{name}'", "Lower posterior.learning_rate.")
            if (value < 0).any():
                raise ArtefactError(f"the variance of weight '{name}' is below 0: this fine-tuning is broken.")
        super().update(inputs)
        for name, value in variances.items():
            self._second[name] += value

    def add(self, weights: Mapping[str, Tensor]) -> None:
        for name, value in weights.items():
            moved = value.double() - self.trained[name].cpu().double()
            self._first[name] += moved
            self._second[name] += moved.square()

    def sums(self) -> dict[str, Tensor]:
        parts = {"first": self._first, "second": self._second}
        return {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}

    def restore(self, sums: Mapping[str, Tensor], n_seen: int) -> None:
        self._first, self._second = (
            {name: sums[f"{part}/{name}"] for name in self.covered()} for part in ("first", "second")
        )
        self.n_seen, self.scale = n_seen, None

    def mean(self, name: str) -> Tensor:
        """The learnt mean minus the trained weight, float64."""
        return self._first[name] / self.n_seen

    def diagonal(self, name: str) -> Tensor:
        """Variance of each weight at temperature 1, float64."""
        return (self._second[name] / self.n_seen - self.mean(name).square()).clamp(min=0)

    def values(self, index: int, seed: int, spread: float) -> Iterator[tuple[str, Tensor]]:
        source = generator(seed, index, WEIGHTS)
        for name, trained in self.covered().items():
            noise = torch.randn(trained.shape, generator=source, dtype=torch.float64)
            yield name, trained.cpu().double() + self.mean(name) + spread * self.diagonal(name).sqrt() * noise

    def variance(self, name: str) -> float:
        """Around the learnt mean."""
        return float(self.diagonal(name).mean())

    def squared_deviations(self, draws: int = 0, seed: int = 0) -> dict[str, float]:
        """Around the trained weights: the shift of the mean counts."""
        around_mean = super().squared_deviations()
        return {name: value + float(self.mean(name).square().mean()) for name, value in around_mean.items()}

    def relative_perturbation(self) -> float:
        """As of any posterior around the trained weights: the shift of the mean counts."""
        squares, size = self.squared_deviations(), self.mean_square()
        counts = {name: value.numel() for name, value in self.covered().items()}
        moved = sum(squares[name] * count for name, count in counts.items()) / sum(counts.values())
        return (moved / size) ** 0.5 if size > 0 else float("inf")

    def relative_shift(self) -> float:
        """Root mean square of the learnt mean's deviation over that of the trained weights."""
        squares = sum(float(self.mean(name).square().sum()) for name in self.covered())
        count = sum(value.numel() for value in self.covered().values())
        return (squares / count / self.mean_square()) ** 0.5

    def shares(self) -> tuple[float, float | None, float]:
        """(weights that were learnt, how many of them the data decide, trace of the covariance over the prior's).

        Of each weight the data decide h / (h + delta), at temperature 1. The second is None where `initial_share` is
        `GUESSED` or more: h is then what `hess_init` said, not the data.
        """
        scale, sizes = self.require_final(), prior_sizes(self.covered(), self.prior_relative_size)
        learnt, decided, trace, prior = 0.0, 0.0, 0.0, 0.0
        for name in self.covered():
            variances = self.diagonal(name)
            variances = variances[variances > 0]
            learnt += variances.numel()
            decided += float((1 - variances / sizes[name] ** 2).clamp(min=0).sum())
            trace += float(variances.sum())
            prior += variances.numel() * sizes[name] ** 2
        told = decided if self.initial_share < GUESSED else None
        return learnt, told, scale.temperature * trace / (prior or 1.0)
