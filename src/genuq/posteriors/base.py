"""What every posterior over weights answers to: update, merge, finalise, draw, save, load.

A posterior knows nothing of images. Three families differ in what `update` takes:
- over one linear layer: the layer's inputs and, where wanted, the residuals at its output (`last_layer.py`);
- over several layers: inputs and output gradients of each (`layers.py`);
- over members: whole sets of weights (`members.py`).
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

import genuq
from genuq import files
from genuq.errors import ArtefactError, ConfigurationError, require_finite
from genuq.parts.bounds import Positive, check_fields
from genuq.posteriors.swap import COARSE, computes_finely

FORMAT = "genuq-posterior-2"

Scope = Literal["head", "network"]
Source = Literal["images", "weights", "nothing"]


@dataclass(frozen=True)
class Scale:
    """What turns summed curvature into a posterior; the precision is tau * curvature / s^2 + lambda.

    Posteriors without curvature (members, dropout) have their covariance multiplied by `temperature` alone.

    Attributes:
        n_effective: number of data that the posterior believes in, usually the size of the training set.
        observation_noise: s^2, variance of the residual f - target, in squared units of the prediction.
        prior_precision: lambda, of each weight around the trained one.
        temperature: T > 1 widens the posterior; tau = n_effective / n_seen / T.
    """

    n_effective: Positive
    observation_noise: Positive
    prior_precision: Positive
    temperature: Positive = 1.0

    def __post_init__(self) -> None:
        check_fields(self, "posterior")


def digest(parameters: Mapping[str, Tensor]) -> str:
    """Identifies trained weights by their names, shapes and values."""
    whole = hashlib.sha256()
    for name, value in sorted(parameters.items()):
        whole.update(f"{name} {tuple(value.shape)}".encode())
        whole.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return whole.hexdigest()


class Posterior(ABC):
    """A distribution over the parameters of a module around the trained ones.

    Args:
        module: a layer or a whole network with its trained weights; it is read, never changed.

    Attributes:
        kind: name in the configuration and in files.
        scope: which module it takes: the model's `head` or its whole `network`.
        source: what it is fitted to: a stream of `images`, sets of `weights`, or `nothing`.
        closed_form: whether `predictive_variance` exists.
        n_seen: images (or sets of weights) in the sums so far.
        scale: None until `finalise`, and again after new data.
    """

    kind: ClassVar[str]
    scope: ClassVar[Scope]
    source: ClassVar[Source]
    closed_form: bool = False

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.n_seen = 0
        self.scale: Scale | None = None
        for name, value in self.covered().items():
            require_finite(value, f"weight '{name}'", "The checkpoint is broken: train or download it again.")

    # What it is about

    @abstractmethod
    def covered(self) -> dict[str, Tensor]:
        """The trained parameters that the posterior moves, by their names in `module`."""

    def require_weights_of(self, model: nn.Module) -> None:
        """Refuse a model that has not the weights themselves that this moves, in which draws would count for nothing.

        Raises:
            ConfigurationError: it names one of them.
        """
        own = {id(value) for value in (*model.parameters(), *getattr(model, "followed", ()))}
        for name in self.covered():
            if id(self.module.get_parameter(name)) not in own:
                raise ConfigurationError(
                    f"the posterior is about weights of another model: '{name}' is none of this one's. Fit it to this "
                    "one; for one in half precision call "
                    "model.half_precision(precision, *genuq.posteriors.drawn_in(precision, [posterior]))."
                )

    def options(self) -> dict[str, Any]:
        """Constructor options as plain data, that a file must carry."""
        return {}

    def constants(self) -> dict[str, Tensor]:
        """Constructor arguments that are tensors."""
        return {}

    # Sums

    @abstractmethod
    def update(self, inputs: Any, gradients: Any = None) -> None:
        """Add a batch of what the family takes."""

    @abstractmethod
    def sums(self) -> dict[str, Tensor]:
        """The statistics so far; those of two shards add up, entry by entry, unless `merge` says otherwise."""

    @abstractmethod
    def restore(self, sums: Mapping[str, Tensor], n_seen: int) -> None:
        """Put statistics in place of the present ones."""

    def running(self) -> dict[str, Tensor]:
        """The statistics so far, in the form that more are added to: `resume` goes on from it to the same numbers."""
        return self.sums()

    def resume(self, running: Mapping[str, Tensor], n_seen: int) -> None:
        """Put what `running` gave in place of the present statistics."""
        self.restore(running, n_seen)

    def merge(self, other: Posterior) -> None:
        """Add another shard's statistics.

        Raises:
            ConfigurationError: the other is of another kind, other options or other trained weights.
        """
        self.require_same(other)
        theirs = other.sums()
        self.restore({name: mine + theirs[name] for name, mine in self.sums().items()}, self.n_seen + other.n_seen)
        self.scale = None

    def require_same(self, other: Posterior) -> None:
        """Raise ConfigurationError for a posterior that cannot be merged with this one."""
        if self.identity() != other.identity():
            raise ConfigurationError("only posteriors of the same kind, options and trained weights can be merged.")

    def identity(self) -> tuple[object, ...]:
        """Two posteriors with the same identity may be merged."""
        constants = {name: value.tolist() for name, value in self.constants().items()}
        return self.kind, self.options(), constants, self.weights_digest()

    def saw(self, count: int) -> None:
        """Count images; a scale fixed before them is void, so that no draw comes from half of the sums."""
        self.n_seen += count
        self.scale = None

    # Scale

    def finalise(self, scale: Scale) -> Self:
        """Fix the scale. May be called again with another one; the sums stay.

        Raises:
            ConfigurationError: nothing seen yet, or a precision that cannot be factorised.
            NonFiniteError: NaN or infinity in the sums; the entry is named.
        """
        for name, value in self.sums().items():
            require_finite(value, f"the summed {name}", "Check the data and the weights.")
        self.factorise(scale)
        self.scale = scale
        return self

    @abstractmethod
    def factorise(self, scale: Scale) -> None:
        """Prepare draws at this scale."""

    def require_final(self) -> Scale:
        if self.scale is None:
            raise ConfigurationError("this posterior has no scale yet: call finalise(Scale(...)) first.")
        return self.scale

    def rescaled(self, **changes: float) -> Self:
        """The same posterior finalised with some entries of its scale changed."""
        return self.finalise(replace(self.require_final(), **changes))

    # Draws

    @abstractmethod
    def draw(self, index: int, seed: int = 0) -> dict[str, Tensor]:
        """Weight draw `index`: values of the covered parameters by name. The same whatever else was drawn.

        Raises:
            ConfigurationError: no scale yet, or draws too small for the precision of the weights.
        """

    @abstractmethod
    def mean_variance(self) -> float:
        """Posterior variance of one weight, averaged over the weights that it moves."""

    def squared_deviations(self, draws: int = 16, seed: int = 0) -> dict[str, float]:
        """Mean square of a draw's deviation from the trained value, of each covered parameter by its name.

        From `draws` draws, where a family has no closed form.
        """
        trained = {name: value.detach().double().cpu() for name, value in self.covered().items()}
        sums = dict.fromkeys(trained, 0.0)
        for index in range(draws):
            for name, value in self.draw(index, seed).items():
                sums[name] += float((value.double().cpu() - trained[name]).square().mean())
        return {name: total / draws for name, total in sums.items()}

    def mean_square(self) -> float:
        """Mean square of the trained weights that it moves."""
        weights = [value.detach().double().flatten() for value in self.covered().values()]
        return float(torch.cat(weights).square().mean())

    def relative_perturbation(self) -> float:
        """Root mean square of a draw's deviation over the root mean square of the trained weights."""
        self.require_final()
        size = self.mean_square()
        return (self.mean_variance() / size) ** 0.5 if size > 0 else float("inf")

    def relative_shift(self) -> float:
        """What of `relative_perturbation` no temperature changes: the deviation of the draws' mean."""
        return 0.0

    def require_precision(self) -> None:
        """Refuse draws of which the weights' own precision would round all away; of weights in layers it rounds none,
        since these compute in float32 (`swapped`).

        Raises:
            ConfigurationError: half-precision weights in no layer of their own, moved by less than two units in their
                last place.
        """
        covered = self.covered()
        if any(value.dtype not in COARSE or computes_finely(self.module, name) for name, value in covered.items()):
            return
        size = self.relative_perturbation()
        for dtype in {value.dtype for value in covered.values()}:
            if 0 < size < 2 * torch.finfo(dtype).eps:
                raise ConfigurationError(
                    f"posterior '{self.kind}' moves the weights by {size:.2g} of their size, which {dtype} rounds away "
                    f"(its precision is {torch.finfo(dtype).eps:.2g}). Keep these weights in float32."
                )

    def predictive_variance(self, features: Tensor) -> Tensor:
        """Variance of the head's output for head inputs `features`, where it has a closed form.

        Raises:
            ConfigurationError: it has none.
        """
        raise ConfigurationError(
            f"posterior '{self.kind}' has no closed-form predictive variance. Choose a last-layer Laplace posterior "
            "(posterior=exact_laplace, diagonal_laplace), or a method that needs only weight draws."
        )

    # Files

    def weights_digest(self) -> str:
        """Identifies the trained weights that the posterior was fitted to."""
        return digest(self.covered())

    def save(self, path: str | Path, notes: Mapping[str, str] | None = None) -> None:
        """Write statistics and scale as safetensors, whole or not at all; `notes` become metadata beside our own."""
        metadata = {
            **(notes or {}),
            "format": FORMAT,
            "genuq": genuq.__version__,
            "kind": self.kind,
            "weights": self.weights_digest(),
            "n_seen": str(self.n_seen),
            "scale": json.dumps(None if self.scale is None else asdict(self.scale)),
            "options": json.dumps(self.options()),
        }
        files.write_tensors(path, {**self.constants(), **self.sums()}, metadata)

    @classmethod
    def load(cls, path: str | Path, module: nn.Module) -> Self:
        """Read a posterior of this kind back, for the same trained weights.

        Raises:
            ArtefactError: truncated, of another format or version, of another kind, or fitted to other weights.
        """
        tensors, metadata = files.read_tensors(path)
        for key, wanted, what in (("format", FORMAT, "format"), ("kind", cls.kind, "kind of posterior")):
            if metadata.get(key) != wanted:
                raise ArtefactError(f"{path} has {what} '{metadata.get(key)}', not '{wanted}'. Fit it again.")
        posterior = cls._for(module, tensors, json.loads(metadata["options"]), path)
        if metadata["weights"] != posterior.weights_digest():
            raise ArtefactError(f"{path} was fitted to another network (its weights differ). Fit it again.")
        sums = {name: value for name, value in tensors.items() if name not in posterior.constants()}
        posterior.restore(sums, int(metadata["n_seen"]))
        scale = json.loads(metadata["scale"])
        return posterior if scale is None else posterior.finalise(Scale(**scale))

    @classmethod
    def _for(cls, module: nn.Module, tensors: Mapping[str, Tensor], options: dict[str, Any], path: str | Path) -> Self:
        """An empty posterior as the file describes it."""
        try:
            return cls(module, **{name: tensors[name] for name in cls.constant_names() if name in tensors}, **options)
        except ConfigurationError as error:
            raise ArtefactError(f"{path} was fitted to another network ({error}). Fit it again.") from error

    @classmethod
    def constant_names(cls) -> tuple[str, ...]:
        """Names of `constants`."""
        return ()


class CurvaturePosterior(Posterior):
    """A Laplace approximation: its precision is weight * summed curvature + lambda.

    Attributes:
        needs: what the second argument of `update` holds: `nothing`; `residuals`, f - target sent back to the
            layers' outputs; or `fisher`, standard normal numbers sent back from the prediction to them.
        noise_power: how often 1/s^2 stands before the curvature: once for a GGN, twice for squared gradients.
    """

    source = "images"
    needs: Literal["nothing", "residuals", "fisher"] = "nothing"
    noise_power: int = 1

    @abstractmethod
    def spectrum(self) -> list[tuple[Tensor, float]]:
        """Eigenvalues of the summed curvature, in groups (eigenvalues, how often each of the group counts)."""

    def mean_eigenvalue(self) -> float:
        """Mean of the spectrum."""
        groups = self.spectrum()
        count = sum(values.numel() * repeats for values, repeats in groups)
        return sum(float(values.sum()) * repeats for values, repeats in groups) / count

    def tau(self, scale: Scale) -> float:
        """n_effective / n_seen / temperature: the weight of the summed curvature."""
        if self.n_seen == 0:
            raise ConfigurationError("this posterior has seen no data: call update before finalise.")
        return scale.n_effective / self.n_seen / scale.temperature

    def weight(self, scale: Scale) -> float:
        """What multiplies the summed curvature in the precision."""
        return self.tau(scale) / scale.observation_noise**self.noise_power
