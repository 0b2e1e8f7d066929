"""Making the members of an ensemble: from checkpoints, by training anew, or by fine-tuning the one that there is.

Every finished member is a file. A killed fit goes on with the next member, and with the unfinished one at its last
checkpoint; the result is that of an uninterrupted one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from genuq import files
from genuq.data import Dataset, as_dataset, subset
from genuq.errors import ArtefactError, ConfigurationError, did_you_mean
from genuq.models import GenerativeModel, evaluating
from genuq.models.checkpoints import checkpoint_weights, save_model
from genuq.models.offloaded import parameters_of, require_resident
from genuq.parallel import collectives
from genuq.posteriors import Scale
from genuq.posteriors.base import digest
from genuq.posteriors.fitting.doubts import read
from genuq.posteriors.fitting.reading import warn_of
from genuq.posteriors.fitting.regression import regression_batches
from genuq.posteriors.ivon import Ivon
from genuq.posteriors.members import DeepEnsemble, MembersPosterior, PosthocEnsemble
from genuq.posteriors.swag import Swag
from genuq.randomness import FITTING, isolated, key, seed_everything
from genuq.store.artefact import fingerprint
from genuq.training.fine_tuning import AnchoredTraining, SnapshotTraining, require_single_precision, working_copy
from genuq.training.member_settings import WITH_PRIOR, MemberSettings, OnlineNewton
from genuq.training.modules import GenerativeTraining, Training
from genuq.training.trainer import complete
from genuq.training.variational import VariationalTraining

Progress = Callable[[int], None]
Fresh = Callable[[], nn.Module]


def finetune_ensemble(
    model: GenerativeModel,
    training_data: Dataset | Tensor,
    folder: str | Path | None = None,
    progress: Progress | None = None,
    labels: Tensor | Sequence[int] | None = None,
    **settings: Any,
) -> PosthocEnsemble:
    """An ensemble around a checkpoint that cannot be trained again: K short fine-tunings by randomised MAP.

    Each member starts at a draw from the prior around the checkpoint and is pulled back to it, sees the data in an
    order of its own, and targets with noise of its own. The model itself is not touched.

    Args:
        model: any network in a `GenerativeModel`, trained.
        training_data: what it was trained on.
        folder: where finished members and the unfinished one's checkpoint are kept; None keeps nothing.
        progress: called with the steps just done.
        labels: (N,) classes of a tensor's items, which a model that knows classes needs; a data set has its own.
        settings: entries of `MemberSettings`, for instance members=5, steps=150, rank=4.

    Warns:
        DoubtfulFitWarning: the network's answers do not fit their targets, or it was not trained to give them; see
            `genuq.fit`.
    Raises:
        ConfigurationError: an unknown or impossible setting, half-precision weights, or data of another shape or other
            classes than the model's.
        DataError: data of another type or range, or a tensor without the labels that the model needs.
        ArtefactError: `folder` holds members of other settings or another checkpoint.
        NonFiniteError: the training diverged.
    """
    known = [part.name for part in fields(MemberSettings)]
    for name in settings:
        if name not in known:
            raise ConfigurationError(f"'{name}' is no setting of members.{did_you_mean(name, known)}")
    chosen = MemberSettings(**settings | {"kind": "posthoc_ensemble"})
    callbacks = [] if progress is None else [Reporting(progress)]
    dataset = as_dataset(training_data, labels, num_classes=model.data_classes)
    model.check_data(dataset)
    model.check_weights()
    require_resident(model.network, f"posterior.name = {chosen.kind}")
    require_single_precision(model.network)
    warn_of(read(model, dataset, chosen.seed)[1])
    fitted = fit_members(chosen, model, dataset, folder, callbacks=callbacks)
    assert isinstance(fitted, PosthocEnsemble)
    return fitted


class Reporting(Callback):
    """Calls `progress` with every step done."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_train_batch_end(self, *_: Any) -> None:
        self.progress(1)


def fit_members(
    settings: MemberSettings,
    model: GenerativeModel,
    dataset: Dataset,
    folder: str | Path | None = None,
    fresh: Fresh | None = None,
    description: Mapping[str, Any] | None = None,
    reference: str = "",
    callbacks: Sequence[Callback] = (),
    say: Callable[[str], None] = lambda text: None,
) -> MembersPosterior:
    """Make all members and finalise the posterior.

    Args:
        model: the trained model that the posterior lies around.
        folder: as in `finetune_ensemble`.
        fresh: builds an untrained network, for a deep ensemble without checkpoints.
        description: of the model, with which deep members become checkpoints.
        reference: name of the reference model whose shipped members `checkpoints: reference` means.
        callbacks: of Lightning, for progress.
        say: told what is being trained.
    """
    if settings.checkpoints is None:
        require_resident(model.network, f"posterior.name = {settings.kind}")
    model.check_data(dataset)
    model.check_weights()
    place = None if folder is None else Path(folder)
    if place is not None and settings.checkpoints is None:
        _claim(place, settings, model)
    making = Making(
        settings, model, dataset, settings.given(reference), place, fresh, description or {}, list(callbacks), say
    )
    with isolated():
        posterior = MAKERS[settings.kind](making)
    return posterior.finalise(making.scale)


def _claim(folder: Path, settings: MemberSettings, model: GenerativeModel) -> None:
    """Refuse a folder whose members were made with other settings or from other weights."""
    made_from = {"settings": fingerprint(settings.of_training), "weights": digest(model.network.state_dict())}
    path = folder / "members.json"
    if path.exists() and files.read_json(path) != made_from:
        raise ArtefactError(
            f"{folder} holds members of other settings or another checkpoint. Delete it or choose another folder."
        )
    if collectives.is_first_process():
        files.write_json(path, made_from)


@dataclass
class Making:
    """One fit: what `fit_members` was given, and its folder."""

    settings: MemberSettings
    model: GenerativeModel
    dataset: Dataset
    given: list[Path]
    folder: Path | None
    fresh: Fresh | None
    description: Mapping[str, Any]
    callbacks: list[Callback]
    say: Callable[[str], None]

    @property
    def scale(self) -> Scale:
        """The prior is that of the fine-tunings, averaged over the weights; the other kinds have none."""
        weights = torch.cat([value.detach().double().flatten() for value in parameters_of(self.model.network).values()])
        variance = self.settings.prior_relative_size**2 * float(weights.square().mean())
        precision = 1 / variance if self.settings.kind in WITH_PRIOR and variance > 0 else 1.0
        return Scale(self.n_effective, self.observation_noise, precision, self.settings.temperature)

    @property
    def n_effective(self) -> float:
        return self.settings.n_effective or self.images_of_a_member

    @property
    def images_of_a_member(self) -> int:
        return max(1, round((self.settings.data_share or 1.0) * len(self.dataset)))

    def images(self, seed: int) -> Dataset:
        """What the member of this seed is trained on."""
        whole = self.settings.data_share is None
        return self.dataset if whole else subset(self.dataset, self.images_of_a_member, seed)

    @cached_property
    def observation_noise(self) -> float:
        return self.settings.observation_noise or residual_variance(self.model, self.dataset, self.settings.seed)

    def train(self, training: Training, name: str) -> None:
        """To the end, from where `name` was killed."""
        self.say(f"{name}: {training.optimisation.steps} steps of {training.optimisation.batch_size}")
        place = None if self.folder is None else self.folder / name
        complete(training, self.settings.hardware, place, callbacks=self.callbacks)

    def made(self, name: str) -> Path | None:
        """The file of a finished training, where there is one."""
        path = None if self.folder is None else self.folder / f"{name}.safetensors"
        return path if path is not None and path.exists() else None

    def keep(self, name: str, save: Callable[[Path], None]) -> None:
        """Write the file of a finished training and remove its checkpoint; the first process does."""
        if self.folder is not None and collectives.is_first_process():
            save(self.folder / f"{name}.safetensors")
            shutil.rmtree(self.folder / name, ignore_errors=True)


def deep_ensemble(making: Making) -> DeepEnsemble:
    """Independent trainings, or checkpoints of them."""
    posterior = DeepEnsemble(making.model.network, bits=16)
    for path in making.given:
        posterior.update(checkpoint_weights(path, making.model))
    for k in range(0 if making.given else making.settings.members):
        made = making.made(f"member-{k}")
        posterior.update(checkpoint_weights(made, making.model) if made else trained_member(making, k))
    return posterior


def trained_member(making: Making, k: int) -> dict[str, Tensor]:
    """The averaged weights of member k, in float16; trained in the latent space of the model's own autoencoder."""
    if making.fresh is None:
        raise ConfigurationError("a deep ensemble needs posterior.checkpoints, or a way to build an untrained network.")
    seed = making.settings.seed + k
    member = working_copy(making.model)
    seed_everything(seed)
    member.network = making.fresh().train()
    training = GenerativeTraining(member, making.images(seed), replace(making.settings.optimisation, seed=seed))
    making.train(training, f"member-{k}")
    member.network.load_state_dict(training.averaged.state_dict())
    making.keep(f"member-{k}", lambda path: save_model(path, member.cpu(), making.description, {"seed": seed}))
    return {n: value.half() if value.is_floating_point() else value for n, value in member.network.state_dict().items()}


def posthoc_ensemble(making: Making) -> PosthocEnsemble:
    """Fine-tunings from the prior around the checkpoint; each finished member is an ensemble of one."""
    settings, network = making.settings, making.model.network
    parts = [PosthocEnsemble.load(path, network) for path in making.given]
    for k in range(0 if parts else settings.members):
        path = making.made(f"member-{k}")
        parts.append(PosthocEnsemble.load(path, network) if path else anchored_member(making, k))
    posterior = parts[0]
    for part in parts[1:]:
        posterior.merge(part)
    posterior.gaussian = settings.gaussian
    return posterior


def anchored_member(making: Making, k: int) -> PosthocEnsemble:
    """Member k as an ensemble of one."""
    settings, seed = making.settings, key(making.settings.seed, k, "member")
    training = AnchoredTraining(
        working_copy(making.model),
        making.images(seed),
        replace(settings.optimisation, seed=seed),
        settings.prior_relative_size,
        making.observation_noise,
        making.n_effective,
        settings.perturb_targets,
        settings.rank,
    )
    making.train(training, f"member-{k}")
    member = PosthocEnsemble(making.model.network, settings.bits, settings.rank)
    member.update(training.cpu().weights())
    making.keep(f"member-{k}", member.save)
    return member


def swag(making: Making) -> Swag:
    """One run at a constant rate."""
    settings, network = making.settings, making.model.network
    if making.given:
        raise ConfigurationError("posterior.checkpoints: swag takes snapshots of one run. Leave it null.")
    if path := making.made("swag"):
        return Swag.load(path, network)
    posterior = Swag(network) if settings.rank is None else Swag(network, settings.rank)
    training = SnapshotTraining(
        working_copy(making.model), making.dataset, settings.optimisation, posterior, settings.members
    )
    making.train(training, "swag")
    making.keep("swag", posterior.save)
    return posterior


def ivon(making: Making) -> Ivon:
    """One variational fine-tuning."""
    settings, network = making.settings, making.model.network
    if making.given:
        raise ConfigurationError("posterior.checkpoints: ivon learns its variances in a training. Leave it null.")
    if path := making.made("ivon"):
        return Ivon.load(path, network)
    newton = settings.online_newton or OnlineNewton()
    training = VariationalTraining(
        working_copy(making.model),
        making.dataset,
        settings.optimisation,
        settings.prior_relative_size,
        making.observation_noise,
        making.n_effective,
        newton,
    )
    making.train(training, "ivon")
    posterior = Ivon(network, settings.prior_relative_size, newton.beta2**settings.steps)
    posterior.update(*training.cpu().learnt())
    making.keep("ivon", posterior.save)
    return posterior


MAKERS: dict[str, Callable[[Making], MembersPosterior]] = {
    "deep_ensemble": deep_ensemble,
    "posthoc_ensemble": posthoc_ensemble,
    "swag": swag,
    "ivon": ivon,
}


@torch.no_grad()
def residual_variance(model: GenerativeModel, dataset: Dataset, seed: int, images: int = 1024) -> float:
    """Mean squared error of the trained network on training images, at stratified times."""
    indices = range(min(images, len(dataset)))
    with evaluating(model):
        squared = [
            (model.predicted(batch.x, batch.t, batch.y) - batch.target).square().flatten(1).mean(1)
            for batch in regression_batches(model, dataset, indices, 256, seed, FITTING)
        ]
    return float(torch.cat(squared).double().mean())
