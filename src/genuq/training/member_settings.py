"""How the members of an ensemble are made, as plain data that is checked."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from genuq.errors import ConfigurationError, did_you_mean
from genuq.identity import identity_of, neutral, where_given
from genuq.models.checkpoints import reference_members, reference_name_of
from genuq.parallel.hardware import Hardware
from genuq.parts.bounds import (
    Count,
    NonNegative,
    OneOf,
    Positive,
    Probability,
    Rate,
    Seed,
    Several,
    Share,
    WholeNumber,
    check,
    check_fields,
)
from genuq.posteriors import PosthocEnsemble
from genuq.training.optimisation import Optimisation

MEMBER_KINDS = ("deep_ensemble", "posthoc_ensemble", "swag", "ivon")
WITH_PRIOR = ("posthoc_ensemble", "ivon")  # around the trained weights
# The settings that a kind reads; of the optimisation and the hardware the rest is the trainer's.
READ_BY_ALL = ("steps", "learning_rate", "temperature")
READ_BY_KIND = {
    "deep_ensemble": (
        "members",
        "checkpoints",
        "data_share",
    ),  # trained like the model: in batches of the trainer's size
    "posthoc_ensemble": (
        *("members", "checkpoints", "batch_size", "rank", "prior_relative_size", "perturb_targets", "bits", "gaussian"),
        *("n_effective", "observation_noise", "data_share"),
    ),
    "swag": ("members", "checkpoints", "batch_size", "rank"),
    "ivon": ("batch_size", "prior_relative_size", "n_effective", "observation_noise"),
}


@dataclass(frozen=True)
class OnlineNewton:
    """What IVON has beside the settings of any fine-tuning; see `genuq.training.variational.IvonOptimiser`.

    Attributes:
        beta1: share of the average gradient that a step keeps.
        beta2: share of the curvature that a step keeps. With the paper's 0.99999, for trainings from nothing, a few
            hundred steps leave it at `hess_init`; far below 0.999 the noise of its estimates counts as curvature.
            beta2 ** steps of it stays `hess_init` (0.74 of it after 300 steps with 0.999); only below 0.05 is it told
            how many weights the data decide.
        hess_init: curvature to begin with, second derivative of the mean squared error by one weight (on average 0.001
            to 0.004 in the networks shipped with genuq): a smaller one begins with wider draws, which
            short trainings keep.
        clip_radius: largest step of a weight before the learning rate; None: any.
        mc_samples: draws of the weights a step, one evaluation with its gradient each; in antithetic pairs.
    """

    beta1: Rate = 0.9
    beta2: Rate = 0.999
    hess_init: Positive = 0.01
    clip_radius: Positive | None = None
    mc_samples: Count = 2

    def __post_init__(self) -> None:
        check_fields(self, "posterior")


@dataclass(frozen=True)
class MemberSettings:
    """How members are made.

    Attributes:
        kind: one of `MEMBER_KINDS`.
        members: K; of swag, the snapshots.
        checkpoints: finished members in place of a training: a file, a pattern (`outputs/*/train/model.safetensors`, in
            the order of their names), a list of both, or `reference` for those shipped with genuq (`reference:starved`
            for those of networks that were trained in another way).
        steps, batch_size, learning_rate, warmup_steps, weight_decay, ema_decay, class_dropout: as in `Optimisation`;
            of each member, of swag the whole run.
        rank: posthoc_ensemble: of the low-rank differences, None for full weights; swag: snapshots that are kept.
        prior_relative_size: standard deviation of the prior over the root mean square of each tensor.
        perturb_targets: see `AnchoredTraining`.
        n_effective: data that the likelihood counts; None: the size of the training set.
        observation_noise: s^2; None: the trained network's mean squared error on training images.
        bits, gaussian: see `PosthocEnsemble`.
        data_share: of the training images that each member of an ensemble sees, chosen for it at random; None: all.
        temperature: of the finished posterior.
        seed: keys everything; member k of a deep ensemble is the training of seed + k.
        online_newton: of ivon, whose learning rate is a share of the Newton step; None: its defaults.
        hardware: where Lightning trains.
    """

    kind: str = "posthoc_ensemble"
    members: Count = 5
    checkpoints: str | Sequence[str | Path] | None = neutral(None)
    steps: Count = 150
    batch_size: Count = 128
    learning_rate: Positive = 3e-4
    warmup_steps: WholeNumber = 20
    weight_decay: NonNegative = 0.0
    ema_decay: Rate = 0.999
    class_dropout: Probability = 0.1
    rank: Count | None = None
    prior_relative_size: Positive = 0.02
    perturb_targets: bool = True
    n_effective: Positive | None = None
    observation_noise: Positive | None = None
    bits: Annotated[int, OneOf(*PosthocEnsemble.bits_allowed)] = 16
    gaussian: bool = False
    temperature: Positive = 1.0
    seed: Seed = 0
    data_share: Share | None = where_given(None)
    online_newton: OnlineNewton | None = where_given(None)
    hardware: Hardware = field(default_factory=Hardware)

    def __post_init__(self) -> None:
        if self.kind not in MEMBER_KINDS:
            raise ConfigurationError(
                f"posterior.name = '{self.kind}' has no members.{did_you_mean(self.kind, MEMBER_KINDS)}"
            )
        check_fields(self, "posterior")
        if self.kind == "swag":
            check("posterior.members", self.members, Several)
            check("posterior.rank", self.rank, Several | None)
        if self.kind == "ivon" and self.hardware.precision not in ("32-true", "bf16-mixed"):
            raise ConfigurationError(
                f"trainer.precision = '{self.hardware.precision}' cannot be had with posterior.name = 'ivon', which "
                "takes several gradients a step. Choose 32-true or bf16-mixed."
            )
        if self.kind == "swag" and self.steps < self.members:
            raise ConfigurationError(
                f"posterior.members = {self.members} snapshots need as many steps; posterior.steps = {self.steps}."
            )

    @property
    def optimisation(self) -> Optimisation:
        shared = {part.name: getattr(self, part.name) for part in fields(Optimisation)}
        return Optimisation(**shared | {"warmup_steps": min(self.warmup_steps, max(1, self.steps // 5))})

    @property
    def of_training(self) -> dict[str, Any]:
        """What trained members depend on, as plain data."""
        return {key: value for key, value in identity_of(self).items() if key not in ("temperature", "gaussian")}

    @property
    def trainings(self) -> int:
        """How many it takes where none is given."""
        return 1 if self.kind in ("swag", "ivon") else self.members

    def given(self, reference: str) -> list[Path]:
        """Files of finished members that `checkpoints` names; none where they are to be made.

        Args:
            reference: name of the reference model, whose members may be shipped.

        Raises:
            ConfigurationError: no file matches, or none is shipped for this model.
        """
        return [] if self.checkpoints is None else finished_members(self.checkpoints, reference, self.kind)

    def count(self, reference: str) -> int | None:
        """How many different draws there will be, None for any number; known before any work."""
        if self.kind in ("swag", "ivon") or self.gaussian:
            return None
        if self.checkpoints is None:
            return self.members
        return len(self.given(reference)) if self.kind == "deep_ensemble" else None


def finished_members(
    chosen: str | Sequence[str | Path], reference: str, kind: str, key: str = "posterior.checkpoints"
) -> list[Path]:
    """Files of finished members.

    Args:
        chosen: as `MemberSettings.checkpoints`.
        reference: name of the reference model, whose members may be shipped.
        kind: of the posterior.
        key: where they were chosen.

    Raises:
        ConfigurationError: no file matches, or none is shipped for this model.
    """
    if (name := reference_name_of(chosen, reference)) is not None:
        return reference_members(name, kind)
    several = [chosen] if isinstance(chosen, str) else list(chosen)
    if not several:
        raise ConfigurationError(f"{key} = [] names no member. Give paths or patterns, or null to make the members.")
    return [path for one in several for path in _named(one, key)]


def _named(path: str | Path, key: str) -> list[Path]:
    if paths := _matching(str(Path(path).expanduser())):
        return paths
    raise ConfigurationError(f"{key} = '{path}' matches no file. Correct the path or pattern.")


def _matching(pattern: str) -> list[Path]:
    """The files that a pattern means, in the order of their names: the path itself, where there is such a file.

    Brackets are first taken as they stand, `[16,32]` being part of many names of folders of sweeps, then as a choice of
    characters.
    """
    if os.path.exists(pattern):
        return [Path(pattern)]
    literally = glob.glob(pattern.replace("[", "[[]"))
    return sorted(map(Path, literally or glob.glob(pattern)))
