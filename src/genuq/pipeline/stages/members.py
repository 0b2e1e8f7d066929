"""The members of a run: what its configuration says about them, and making them in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import RichProgressBar
from torch import nn

from genuq import models
from genuq.display import Display
from genuq.errors import ConfigurationError
from genuq.pipeline.run import Run, hardware_of
from genuq.posteriors import MembersPosterior
from genuq.training.ensembles import fit_members
from genuq.training.member_settings import MemberSettings

OWN_KEYS = (
    "members",
    "checkpoints",
    "steps",
    "batch_size",
    "learning_rate",
    "rank",
    "prior_relative_size",
    "perturb_targets",
    "bits",
    "gaussian",
    "n_effective",
    "observation_noise",
    "temperature",
)


def member_settings(run: Run, entry: Mapping[str, Any]) -> MemberSettings:
    """The settings of one of the run's posteriors; what it leaves open is the trainer's.

    A deep ensemble is trained like the model: in batches of the trainer's size.
    """
    trainer = run.plain("trainer")["trainer"]
    known = {field.name for field in fields(MemberSettings)}
    chosen = {key: value for key, value in trainer.items() if key in known}
    chosen |= {key: entry[key] for key in OWN_KEYS if entry[key] is not None}
    if entry["name"] == "deep_ensemble":
        chosen["batch_size"] = trainer["batch_size"]
    return MemberSettings(**chosen | {"kind": entry["name"], "seed": run.config.seed, "hardware": hardware_of(run)})


def reference_name(run: Run) -> str:
    return f"{run.config.model.name}_{run.config.data.name}"


def members_identity(run: Run, entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the finished posterior depends on, beside the checkpoint and the data."""
    settings = member_settings(run, entry)
    given = [run.sha256(path) for path in settings.given(reference_name(run))]
    return {"given": given} if given else settings.identity


def check_members(run: Run, entry: Mapping[str, Any], key: str) -> None:
    """Raise ConfigurationError for settings that cannot work, or more draws than there will be members."""
    count = member_settings(run, entry).count(reference_name(run))
    if count is not None and entry["draws"] > count:
        raise ConfigurationError(
            f"{key}.draws = {entry['draws']}, but the ensemble has {count} members: lower {key}.draws or raise "
            f"{key}.members."
        )


def run_members(run: Run, entry: Mapping[str, Any], folder: Path, display: Display) -> MembersPosterior:
    """Make the members of one of the run's posteriors in `folder`, or find them there."""

    def fresh() -> nn.Module:
        return models.build(run.description()).network

    posterior = fit_members(
        member_settings(run, entry),
        run.model,
        run.training_set,
        folder,
        fresh=fresh,
        description=run.description(),
        reference=reference_name(run),
        callbacks=[RichProgressBar(leave=True)],
        say=display.say,
    )
    wanted = entry["relative_perturbation"]
    if wanted is None:
        return posterior
    return posterior.rescaled(temperature=(wanted / posterior.rescaled(temperature=1.0).relative_perturbation()) ** 2)
