"""What every last-layer posterior answers to: update, merge, finalise, draw, predictive_variance, save, load.

The statistics are sums over images, so that batches, shards and processes add up. A posterior knows nothing of images.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from genuq import files
from genuq.errors import ArtefactError, ConfigurationError, require_finite
from genuq.posteriors.head import head_of
from genuq.randomness import WEIGHTS, generator

FORMAT = "genuq-posterior-1"


@dataclass(frozen=True)
class Scale:
    """What turns summed curvature into a posterior; the precision is tau * curvature / s^2 + lambda.

    Attributes:
        n_effective: number of data that the posterior believes in, usually the size of the training set.
        observation_noise: s^2, variance of the residual f - target, in squared units of the prediction.
        prior_precision: lambda, of each weight around the trained one.
        temperature: T > 1 widens the posterior; tau = n_effective / n_seen / T.
    """

    n_effective: float
    observation_noise: float
    prior_precision: float
    temperature: float = 1.0

    def __post_init__(self) -> None:
        require_positive(asdict(self))


def require_positive(entries: Mapping[str, float]) -> None:
    """Raise ConfigurationError naming the first entry of the posterior's scale that is not positive and finite."""
    for name, value in entries.items():
        if not 0 < value < float("inf"):
            raise ConfigurationError(f"posterior.{name} = {value}; it must be positive and finite.")


def digest(matrix_OK: Tensor) -> str:
    """Identifies a head by its weights."""
    return hashlib.sha256(matrix_OK.float().contiguous().numpy().tobytes()).hexdigest()


class LastLayerPosterior(ABC):
    """A Gaussian over the parameters of one Conv2d or Linear layer, centred at the trained ones.

    Args:
        layer: the head, with its trained weights; it is read, never changed.
        active: bool (O,), False for output channels that the sampler discards; they keep their trained weights.

    Attributes:
        needs_residuals: whether `update` wants the residuals at the head's output.
        noise_power: how often 1/s^2 stands before the curvature: once for a GGN, twice for squared gradients.
        n_seen: images in the sums so far.
        scale: None until `finalise`, and again after new data.

    Raises:
        ConfigurationError: an unsuitable layer, or `active` that does not fit it.
        NonFiniteError: NaN or infinite weights.
    """

    kind: ClassVar[str]
    needs_residuals: bool = False
    noise_power: int = 1

    def __init__(self, layer: nn.Module, active: Tensor | None = None) -> None:
        self.head = head_of(layer)
        self.mean_OK = self.head.matrix().cpu()
        require_finite(self.mean_OK, "the head's weights", "The checkpoint is broken: train or download it again.")
        self.active_O = torch.ones(self.head.outputs, dtype=torch.bool) if active is None else active.cpu().bool()
        if self.active_O.shape != (self.head.outputs,) or not self.active_O.any():
            raise ConfigurationError(
                f"active has shape {tuple(self.active_O.shape)} and {int(self.active_O.sum())} true entries; it must "
                f"have one entry for each of the head's {self.head.outputs} output channels, and a true one."
            )
        self.n_seen = 0
        self.scale: Scale | None = None

    @abstractmethod
    def update(self, features: Tensor, residuals: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            features: the head's input, (B, C, H, W) or (B, ..., C).
            residuals: f - target in the layout of the head's output, where `needs_residuals`.
        """

    @property
    @abstractmethod
    def curvature(self) -> Tensor:
        """The summed curvature of the negative log likelihood at s^2 = 1."""

    @curvature.setter
    @abstractmethod
    def curvature(self, value: Tensor) -> None: ...

    @abstractmethod
    def eigenvalues(self) -> Tensor:
        """Eigenvalues of the summed curvature, (O or 1, K): one row for all channels where they share it."""

    def mean_eigenvalue(self) -> float:
        """Mean of `eigenvalues`."""
        return float(self.eigenvalues().mean())

    @abstractmethod
    def trace_against(self, matrix_KK: Tensor, ridge: float) -> tuple[float, float]:
        """(tr((C + ridge)^-1 M), tr((C + ridge)^-1 C)) for the summed curvature C of one channel."""

    @abstractmethod
    def factorise(self, scale: Scale) -> None:
        """Prepare draws and variances at this scale."""

    @abstractmethod
    def deviation(self, normal_OK: Tensor) -> Tensor:
        """A draw's deviation from the mean, (O, K), from standard normal numbers (O, K)."""

    @abstractmethod
    def predictive_variance(self, features: Tensor) -> Tensor:
        """Variance of the head's output, exact under this posterior, in the layout of that output, float64."""

    @abstractmethod
    def mean_variance(self) -> float:
        """Posterior variance of one weight, averaged over the weights of the active channels."""

    def merge(self, other: LastLayerPosterior) -> None:
        """Add another shard's sums."""
        if self._identity() != other._identity():
            raise ConfigurationError(
                "only posteriors of the same kind, options, head and active channels can be merged."
            )
        self.curvature = self.curvature + other.curvature
        self._saw(other.n_seen)

    def _identity(self) -> tuple[object, ...]:
        return self.kind, self.options(), self.weights_digest(), self.active_O.tolist()

    def _saw(self, images: int) -> None:
        """Count images; a scale fixed before them is void, so that no draw comes from half of the sums."""
        self.n_seen += images
        self.scale = None

    def tau(self, scale: Scale) -> float:
        """n_effective / n_seen / temperature: the weight of the summed curvature."""
        if self.n_seen == 0:
            raise ConfigurationError("this posterior has seen no data: call update before finalise.")
        return scale.n_effective / self.n_seen / scale.temperature

    def weight(self, scale: Scale) -> float:
        """What multiplies the summed curvature in the precision."""
        return self.tau(scale) / scale.observation_noise**self.noise_power

    def finalise(self, scale: Scale) -> Self:
        """Fix the scale. May be called again with another one; the sums stay."""
        require_finite(self.curvature, "the summed curvature", "Check the data and the weights.")
        self.factorise(scale)
        self.scale = scale
        return self

    def require_final(self) -> Scale:
        if self.scale is None:
            raise ConfigurationError("this posterior has no scale yet: call finalise(Scale(...)) first.")
        return self.scale

    def draw(self, index: int, seed: int = 0) -> dict[str, Tensor]:
        """Weight draw `index`: values of the layer's parameters by name. The same whatever else was drawn.

        The values are rounded to the layer's precision: a draw that moves the weights by less than about 0.0005
        (float16) or 0.004 (bfloat16) of their size is partly lost there. Keep the head in float32 then.
        """
        self.require_final()
        source = generator(seed, index, WEIGHTS)
        normal_OK = torch.randn(self.mean_OK.shape, generator=source, dtype=torch.float64)
        deviation_OK = self.deviation(normal_OK) * self.active_O[:, None]
        return self.head.parameters(self.mean_OK + deviation_OK)

    def relative_perturbation(self) -> float:
        """Root mean square of a draw's deviation over the root mean square of the trained weights."""
        self.require_final()
        size = float(self.mean_OK[self.active_O].square().mean())
        return (self.mean_variance() / size) ** 0.5 if size > 0 else float("inf")

    def weights_digest(self) -> str:
        """Identifies the head that the posterior was fitted to."""
        return digest(self.mean_OK)

    def options(self) -> dict[str, str]:
        """Constructor options, as strings, that a file must carry."""
        return {}

    def save(self, path: str | Path, notes: Mapping[str, str] | None = None) -> None:
        """Write sums and scale as safetensors, whole or not at all; `notes` become metadata beside our own."""
        metadata = {
            **(notes or {}),
            "format": FORMAT,
            "kind": self.kind,
            "weights": self.weights_digest(),
            "n_seen": str(self.n_seen),
            "scale": json.dumps(None if self.scale is None else asdict(self.scale)),
            "options": json.dumps(self.options()),
        }
        files.write_tensors(path, {"curvature": self.curvature, "active": self.active_O}, metadata)

    @classmethod
    def load(cls, path: str | Path, layer: nn.Module) -> Self:
        """Read a posterior of this kind back, for the same head.

        Raises:
            ArtefactError: truncated, of another format, of another kind, or fitted to other weights.
        """
        tensors, metadata = files.read_tensors(path)
        for key, wanted, what in (("format", FORMAT, "format"), ("kind", cls.kind, "kind of posterior")):
            if metadata.get(key) != wanted:
                raise ArtefactError(f"{path} has {what} '{metadata.get(key)}', not '{wanted}'. Fit it again.")
        if metadata["weights"] != digest(head_of(layer).matrix().cpu()):
            raise ArtefactError(f"{path} was fitted to another network's head (its weights differ). Fit it again.")
        posterior = cls(layer, active=tensors["active"], **json.loads(metadata["options"]))
        posterior.curvature, posterior.n_seen = tensors["curvature"], int(metadata["n_seen"])
        scale = json.loads(metadata["scale"])
        return posterior if scale is None else posterior.finalise(Scale(**scale))

    def rescaled(self, **changes: float) -> Self:
        """The same posterior finalised with some entries of its scale changed."""
        return self.finalise(replace(self.require_final(), **changes))
