"""Posteriors made of whole sets of weights: independently trained members, or short fine-tunings of one checkpoint."""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from genuq.errors import CheckpointError, ConfigurationError, require_finite
from genuq.models import head_candidates
from genuq.models.offloaded import parameters_of
from genuq.posteriors.base import Posterior, Scale, digest
from genuq.posteriors.low_rank import factors, product, weight_name
from genuq.posteriors.register import POSTERIORS
from genuq.posteriors.swap import draw_precision
from genuq.randomness import WEIGHTS, generator


class MembersPosterior(Posterior):
    """A distribution fitted to whole sets of weights of a network.

    Draws move parameters only. A member whose buffers (batch statistics) differ from the trained network's is refused:
    its weights would run with foreign statistics.
    """

    scope = "network"
    source = "weights"

    def __init__(self, module: nn.Module) -> None:
        # `swapped` sets storage aside: these keep pointing at the trained one
        self.trained = {name: value.detach() for name, value in parameters_of(module).items()}
        super().__init__(module)

    def covered(self) -> dict[str, Tensor]:
        return self.trained

    def weights_digest(self) -> str:
        return digest(self.trained)

    def update(self, inputs: Mapping[str, Tensor], gradients: Any = None) -> None:
        """Add one set of weights by name: `dict(network.named_parameters())` or a whole `state_dict`.

        Raises:
            CheckpointError: a parameter missing, unknown or of another shape, or a value moved that draws leave alone.
            NonFiniteError: NaN or infinite weights.
        """
        self.check(inputs)
        self.add({name: inputs[name].detach().cpu() for name in self.covered()})
        self.saw(1)

    def check(self, weights: Mapping[str, Tensor]) -> None:
        """Raise CheckpointError unless `weights` is a set of weights that a draw can put in place."""
        who = f"member {self.n_seen}"
        for name, value in self.covered().items():
            if name not in weights:
                raise CheckpointError(f"{who} has no weight '{name}'. Give all of {type(self.module).__name__}'s.")
            if weights[name].shape != value.shape:
                raise CheckpointError(
                    f"{who}: '{name}' is {tuple(weights[name].shape)}, and {tuple(value.shape)} in the network. "
                    "Members are networks of the same architecture."
                )
            require_finite(weights[name], f"weight '{name}' of {who}", "This member is broken: make it again.")
        for name in sorted(weights.keys() - self.covered().keys()):
            self._check_fixed(who, name, weights[name])

    def _check_fixed(self, who: str, name: str, value: Tensor) -> None:
        """A value that draws leave alone may differ from the trained one by the rounding of a half-precision file."""
        shared = dict(self.module.named_parameters(remove_duplicate=False))
        fixed = {**shared, **self.trained, **dict(self.module.named_buffers())}
        if name not in fixed:
            raise CheckpointError(f"{who} has a weight '{name}', which {type(self.module).__name__} has not.")
        ours, is_tied = fixed[name].detach().cpu(), name in shared.keys() - self.trained.keys()
        if not is_tied and not torch.allclose(ours.double(), value.detach().cpu().double(), rtol=1e-3, atol=1e-6):
            raise CheckpointError(
                f"{who} differs in '{name}', which draws of posterior '{self.kind}' do not move. Keep it as trained "
                "(batch statistics: in evaluation mode)."
            )

    @abstractmethod
    def add(self, weights: Mapping[str, Tensor]) -> None:
        """Take in one checked set of weights."""

    def draw(self, index: int, seed: int = 0) -> dict[str, Tensor]:
        scale = self.require_final()
        self.require_precision()
        return {
            name: value.to(draw_precision(self.trained[name]))
            for name, value in self.values(index, seed, scale.temperature**0.5)
        }

    @abstractmethod
    def values(self, index: int, seed: int, spread: float) -> Iterator[tuple[str, Tensor]]:
        """Weight draw `index` by name, its deviations multiplied by `spread`."""

    def factorise(self, scale: Scale) -> None:
        if self.n_seen == 0:
            raise ConfigurationError(f"posterior '{self.kind}' has no members: call update before finalise.")
        self._variances = {name: self.variance(name) for name in self.covered()}

    @abstractmethod
    def variance(self, name: str) -> float:
        """Mean variance of the entries of one weight at temperature 1."""

    def mean_variance(self) -> float:
        sizes = {name: value.numel() for name, value in self.covered().items()}
        whole = sum(self._variances[name] * size for name, size in sizes.items()) / sum(sizes.values())
        return whole * self.require_final().temperature

    def squared_deviations(self, draws: int = 0, seed: int = 0) -> dict[str, float]:
        temperature = self.require_final().temperature
        return {name: temperature * variance for name, variance in self._variances.items()}


def prior_sizes(weights: Mapping[str, Tensor], relative: float) -> dict[str, float]:
    """Standard deviation of the prior: this share of each tensor's root mean square (of all weights' where it is 0)."""
    squares = {name: float(value.detach().double().square().mean()) for name, value in weights.items()}
    counts = {name: value.numel() for name, value in weights.items()}
    overall = sum(squares[name] * counts[name] for name in weights) / sum(counts.values())
    return {name: relative * (square or overall or 1.0) ** 0.5 for name, square in squares.items()}


class Packed(NamedTuple):
    """A stored tensor: values times a scale."""

    values: Tensor
    scale: float

    def unpacked(self) -> Tensor:
        return self.values.double() * self.scale


def pack(value: Tensor, bits: int) -> Packed:
    """A tensor in this many bits an entry.

    32: as it is. 16: float16, scaled by the power of two that brings the largest entry just below 2^15; small
    differences keep all eleven bits so, and what was float16 already loses nothing. 8: whole steps of 1/127 of the
    largest entry, about a hundredth of normal differences.
    """
    largest = (float(value.double().abs().max()) if value.numel() else 0.0) or 1.0
    if bits == 32 or (bits == 16 and value.dtype == torch.float16):
        return Packed(value.clone(), 1.0)
    if bits == 16:
        scale = 2.0 ** (math.frexp(largest)[1] - 15)
        return Packed((value.double() / scale).half(), scale)
    return Packed((value.double() / (largest / 127)).round().to(torch.int8), largest / 127)


class Ensemble(MembersPosterior):
    """K members; draw k is member k, at temperature T its deviation from the trained weights times sqrt(T).

    A draw is the same whatever the seed and whatever else was drawn, and none repeats: a draw beyond the last is
    refused. Members are kept in memory as they are in the file, so that a saved ensemble draws the same weights.

    Args:
        bits: of each number kept: 32 (the precision given), 16 or 8; see `pack`.
    """

    bits_allowed: ClassVar[tuple[int, ...]] = (8, 16, 32)

    def __init__(self, module: nn.Module, bits: int = 32) -> None:
        if bits not in self.bits_allowed:
            raise ConfigurationError(f"posterior.bits = {bits}; '{self.kind}' keeps one of {self.bits_allowed}.")
        super().__init__(module)
        self.bits = bits
        self.members: list[dict[str, Packed]] = []

    def options(self) -> dict[str, Any]:
        return {"bits": self.bits}

    @abstractmethod
    def entries(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is kept of a member, by name."""

    @abstractmethod
    def deviation(self, member: Mapping[str, Packed], name: str) -> Tensor:
        """A member's weight minus the trained one, float64."""

    def add(self, weights: Mapping[str, Tensor]) -> None:
        self.members.append({name: pack(value, self.bits) for name, value in self.entries(weights).items()})

    def sums(self) -> dict[str, Tensor]:
        """`K/NAME` for every entry of member K, and `K scales` in the order of the entries' names."""
        stored: dict[str, Tensor] = {}
        for k, member in enumerate(self.members):
            stored |= {f"{k}/{name}": packed.values for name, packed in member.items()}
            scales = [member[name].scale for name in sorted(member)]
            stored[f"{k} scales"] = torch.tensor(scales, dtype=torch.float64)
        return stored

    def restore(self, sums: Mapping[str, Tensor], n_seen: int) -> None:
        self.members = []
        for k in range(n_seen):
            names = sorted(key.removeprefix(f"{k}/") for key in sums if key.startswith(f"{k}/"))
            scales = sums[f"{k} scales"].tolist()
            self.members.append({name: Packed(sums[f"{k}/{name}"], scale) for name, scale in zip(names, scales)})
        self.n_seen, self.scale = n_seen, None

    def merge(self, other: Posterior) -> None:
        """Append the other's members to these."""
        self.require_same(other)
        assert isinstance(other, Ensemble)
        self.members += other.members
        self.saw(other.n_seen)

    def values(self, index: int, seed: int, spread: float) -> Iterator[tuple[str, Tensor]]:
        if index >= len(self.members):
            raise ConfigurationError(
                f"posterior.draws = {index + 1} or more, but the ensemble has {len(self.members)} members: lower "
                "posterior.draws or add members."
            )
        for name, trained in self.covered().items():
            yield name, trained.cpu().double() + spread * self.deviation(self.members[index], name)

    def variance(self, name: str) -> float:
        """Mean square of the members' deviations from the trained weight."""
        return sum(float(self.deviation(member, name).square().mean()) for member in self.members) / len(self.members)


@POSTERIORS.add(
    label="Deep ensemble",
    description="Networks trained anew from different random starts; each is one weight draw.",
)
class DeepEnsemble(Ensemble):
    """Independently trained networks of the same architecture (Lakshminarayanan et al. 2017); the names and shapes of
    the weights must match, their values need not be near the trained ones.

    Temperatures other than 1 leave the members: half-way between independent trainings there is no trained network.
    """

    kind = "deep_ensemble"
    bits_allowed = (16, 32)

    def entries(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(weights)

    def deviation(self, member: Mapping[str, Packed], name: str) -> Tensor:
        return member[name].unpacked() - self.trained[name].cpu().double()

    def values(self, index: int, seed: int, spread: float) -> Iterator[tuple[str, Tensor]]:
        for name, value in super().values(index, seed, spread):
            yield name, value if spread != 1.0 else self.members[index][name].unpacked()  # to the last bit

    def weights_digest(self) -> str:
        """Of names and shapes: members do not depend on the checkpoint."""
        return hashlib.sha256(repr(sorted((n, tuple(v.shape)) for n, v in self.trained.items())).encode()).hexdigest()


@POSTERIORS.add(
    label="Post-hoc ensemble",
    description="Short fine-tunings of the trained network, each towards its own randomly perturbed targets and prior.",
)
class PosthocEnsemble(Ensemble):
    """Fine-tunings of the trained network, kept as differences from it; meaningless for any other checkpoint.

    Args:
        bits: of each number of a difference, each tensor with a scale of its own.
        rank: None covers all weights; r covers those of the Linear and Conv2d layers and keeps factors (O, r) and
            (r, K) of each difference.
        gaussian: draws beyond the last member come from the normal distribution with the members' mean and
            covariance, instead of being refused.
    """

    kind = "posthoc_ensemble"

    def __init__(self, module: nn.Module, bits: int = 16, rank: int | None = None, gaussian: bool = False) -> None:
        if rank is not None and rank < 1:
            raise ConfigurationError(f"posterior.rank = {rank}; it must be at least 1, or null for full weights.")
        self.rank, self.gaussian = rank, gaussian
        self._adapted = {weight_name(layer) for layer in head_candidates(module)}
        super().__init__(module, bits)

    def covered(self) -> dict[str, Tensor]:
        if self.rank is None:
            return self.trained
        return {name: value for name, value in self.trained.items() if name in self._adapted}

    def options(self) -> dict[str, Any]:
        return {**super().options(), "rank": self.rank, "gaussian": self.gaussian}

    def entries(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        moved = {n: w.double() - self.trained[n].cpu().double() for n, w in weights.items()}
        if self.rank is None:
            return {name: difference.to(weights[name].dtype) for name, difference in moved.items()}
        kept = {}
        for name, difference in moved.items():
            kept[f"{name} up"], kept[f"{name} down"] = factors(difference, self.rank, name)
        return kept

    def deviation(self, member: Mapping[str, Packed], name: str) -> Tensor:
        if self.rank is None:
            return member[name].unpacked()
        up, down = (member[f"{name} {side}"].unpacked() for side in ("up", "down"))
        return product(up, down, self.trained[name].shape)

    def values(self, index: int, seed: int, spread: float) -> Iterator[tuple[str, Tensor]]:
        if self.gaussian and index >= len(self.members):
            return self._gaussian(index, seed, spread)
        return super().values(index, seed, spread)

    def _gaussian(self, index: int, seed: int, spread: float) -> Iterator[tuple[str, Tensor]]:
        """trained + spread * (mean + sum_k z_k (deviation_k - mean) / sqrt(K - 1))."""
        count = len(self.members)
        z_K = torch.randn(count, generator=generator(seed, index, WEIGHTS), dtype=torch.float64)
        coefficients_K = 1 / count + (z_K - z_K.mean()) / max(1, count - 1) ** 0.5
        for name, trained in self.covered().items():
            moved = torch.zeros((), dtype=torch.float64)
            for coefficient, member in zip(coefficients_K.tolist(), self.members):
                moved = moved + coefficient * self.deviation(member, name)
            yield name, trained.cpu().double() + spread * moved
