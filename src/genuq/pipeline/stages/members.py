"""The members of a run: what its configuration says about them, and making them in the run's folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import nn

from genuq import models
from genuq.display import Display
from genuq.errors import ConfigurationError
from genuq.identity import neutral
from genuq.models.checkpoints import reference_name_of
from genuq.parts.bounds import Several, problem_of
from genuq.pipeline.configured import data_inputs, reference_name
from genuq.pipeline.inputs import DataInputs, ModelInputs
from genuq.pipeline.run import Run, hardware_of
from genuq.posteriors import ChosenScale, DeepEnsemble, FitResult, Ivon
from genuq.posteriors.fitting.doubts import UNREAD, read
from genuq.posteriors.fitting.held_out import HeldOutSums
from genuq.posteriors.fitting.scale import factor_to_reach
from genuq.store.upstream import FileContent
from genuq.training.member_settings import WITH_PRIOR, MemberSettings, OnlineNewton

OF_MEMBERS = (
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
    "data_share",
    "temperature",
)
OF_FINISHED = ("checkpoints", "prior_relative_size", "gaussian", "n_effective", "observation_noise", "temperature")


@dataclass(frozen=True)
class MembersInputs:
    """A posterior of whole sets of weights.

    Attributes:
        posterior: how they are made, or combined where they are given.
        finished: the files of given members; none where they are made.
        relative_perturbation: by which a draw is to move the weights; None leaves the members' own spread.
        description: of the model, of which deep members become checkpoints.
        reference: name of the model whose shipped members `checkpoints: reference` means.
    """

    model: ModelInputs
    data: DataInputs
    posterior: MemberSettings
    finished: tuple[FileContent, ...]
    relative_perturbation: float | None
    description: Mapping[str, Any] = neutral()
    reference: str = neutral()


def members_inputs(run: Run, entry: Mapping[str, Any], model: ModelInputs) -> MembersInputs:
    """What the posterior of members with this configuration depends on."""
    settings, reference = member_settings(run, entry), reference_name(run)
    finished = tuple(FileContent(run.sha256(path), path) for path in settings.given(reference))
    wanted, data = entry["relative_perturbation"], data_inputs(run, "train")
    return MembersInputs(model, data, settings, finished, wanted, model.description, reference)


def member_settings(run: Run, entry: Mapping[str, Any]) -> MemberSettings:
    """The settings of one of the run's posteriors; what it leaves open is the trainer's.

    A deep ensemble is trained like the model: in batches of the trainer's size, under the seeds after the run's own,
    which is that of the model itself. Of finished members nothing of a training is read.
    """
    chosen: dict[str, Any] = {"kind": entry["name"], "seed": run.config.seed}
    if entry.get("checkpoints") is not None:
        return MemberSettings(**chosen | {key: entry[key] for key in OF_FINISHED if entry.get(key) is not None})
    trainer = run.plain("trainer")["trainer"]
    known = {field.name for field in fields(MemberSettings)}
    if entry["name"] == DeepEnsemble.kind:
        chosen["seed"] += 1
    chosen |= {key: value for key, value in trainer.items() if key in known}
    chosen |= {key: entry[key] for key in OF_MEMBERS if entry.get(key) is not None}
    if entry["name"] == Ivon.kind:
        chosen["online_newton"] = OnlineNewton(**{part.name: entry[part.name] for part in fields(OnlineNewton)})
    return MemberSettings(**chosen | {"hardware": hardware_of(run)})


def check_members(run: Run, entry: Mapping[str, Any], key: str) -> None:
    """Raise ConfigurationError for settings that cannot work, or more draws than there will be members."""
    settings, reference = member_settings(run, entry), reference_name(run)
    count, draws = settings.count(reference), entry["draws"]
    if count is None or draws <= count:
        return
    files = f"give the files of at least {draws} members as {key}.checkpoints"
    if settings.checkpoints is None:
        has, more = f"the ensemble has {count} members", f"raise {key}.members"
    elif reference_name_of(settings.checkpoints, reference) is not None:
        has, more = f"{count} members ship ({key}.checkpoints = {settings.checkpoints})", files
    else:
        has, more = f"{key}.checkpoints has {count} member{'s' if count > 1 else ''}", files
    fewer = f"lower {key}.draws to {count}, or " if problem_of(count, Several) is None else ""
    raise ConfigurationError(f"{key}.draws = {draws}, but {has}: {fewer}{more}.")


def fit_members_of(inputs: MembersInputs, folder: Path, display: Display) -> FitResult:
    """The posterior of whole sets of weights, which are made in `folder`, or found there."""
    from lightning.pytorch.callbacks import RichProgressBar  # slow to import

    from genuq.training.ensembles import fit_members

    started = time.perf_counter()

    def fresh() -> nn.Module:
        return models.build(dict(inputs.description)).network

    model = inputs.model.open()
    reading, doubts = read(model, inputs.data.train, inputs.posterior.seed)
    if reading is None:
        display.say(UNREAD)
    posterior = fit_members(
        inputs.posterior,
        model,
        inputs.data.train,
        folder / "members",
        fresh=fresh,
        description=inputs.description,
        reference=inputs.reference,
        callbacks=[RichProgressBar(leave=True)],
        say=display.say,
    )
    if (wanted := inputs.relative_perturbation) is not None:
        posterior = posterior.rescaled(temperature=factor_to_reach(posterior.rescaled(temperature=1.0), wanted))
    no_prior = "none: these members know no prior"
    has_prior = inputs.posterior.kind in WITH_PRIOR
    how = {
        "n_effective": "given, or the size of the training set",
        "observation_noise": "given, or the mean squared error of the trained network on training images",
        "prior_precision": "one over the mean variance of the prior" if has_prior else no_prior,
        "temperature": "multiplies the squared deviations of the draws",
    }
    chosen = ChosenScale(posterior.require_final(), how, evidence=None, criterion="members")
    seconds = time.perf_counter() - started
    return FitResult(posterior, chosen, HeldOutSums(inputs=0), seconds, 0.0, reading, doubts)
