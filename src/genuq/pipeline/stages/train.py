"""The stages that train: the model, with its autoencoder where that is ours; and the classifier that judges."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genuq import models
from genuq.data import Dataset
from genuq.display import Display
from genuq.errors import ConfigurationError
from genuq.identity import identity_of, neutral, where_given
from genuq.models import GenerativeModel, VAEAutoencoder
from genuq.models.checkpoints import restore, save_classifier, save_model
from genuq.networks import Classifier
from genuq.parallel import collectives, fsdp
from genuq.parallel.hardware import Hardware
from genuq.pipeline.configured import autoencoder_content, data_inputs, description_of, model_part, plugged_model
from genuq.pipeline.inputs import DataInputs
from genuq.pipeline.run import Run, hardware_of
from genuq.pipeline.stage import Stage
from genuq.posteriors.base import digest
from genuq.posteriors.fitting.regression import regression_batches
from genuq.randomness import HELD_OUT, isolated, seed_everything
from genuq.store.artefact import StageFolder
from genuq.store.upstream import FileContent
from genuq.training.optimisation import Optimisation

if TYPE_CHECKING:  # Lightning is slow to import, and of trainings alone
    from lightning.pytorch.callbacks import Callback

    from genuq.training.modules import Training
    from genuq.training.trainer import EarlyWeights

EARLY = "early.safetensors"
Logger = Callable[[str, Display], Any]  # Lightning's logger of a part of a training; False for none


@dataclass(frozen=True)
class Schedule:
    """How a training goes, whatever its length.

    Attributes:
        batch_size, learning_rate, weight_decay: as in `Optimisation`.
        warmup_steps: as in `Optimisation`; at most a fifth of the training.
    """

    batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float

    def of(self, steps: int, seed: int) -> Optimisation:
        """The optimisation of a training of this many steps."""
        own = {part.name: getattr(self, part.name) for part in fields(self)}
        return Optimisation(**own | {"steps": steps, "seed": seed, "warmup_steps": self.warmup(steps)})

    def warmup(self, steps: int) -> int:
        return min(self.warmup_steps, max(1, steps // 5))


@dataclass(frozen=True)
class GenerativeSchedule(Schedule):
    """How a generative model's training goes.

    Attributes:
        ema_decay, class_dropout: as in `Optimisation`.
    """

    ema_decay: float
    class_dropout: float


@dataclass(frozen=True)
class TrainInputs:
    """What a trained model depends on.

    Attributes:
        data: training images, and test images for the final loss.
        model: its description, but for the head.
        steps: of its training.
        early_step: after how many of them the averaged weights are kept apart too; None for never.
        autoencoder_steps: of its autoencoder's, where that is trained.
        start_from: a checkpoint whose weights the training starts from.
        autoencoder: digest of the folder with it, where it is taken from one.
        autoencoder_path: of that folder.
        head: noted in the checkpoint for whoever loads it; the stages after this one name their own.
        configuration: noted in the checkpoint.
        logger: looks on.
        plugged: description of a model of a user's own, of which `model` is the identity.
    """

    seed: int
    data: DataInputs
    model: Mapping[str, Any]
    autoencoder: str | None
    trainer: GenerativeSchedule
    steps: int
    autoencoder_steps: int | None
    start_from: FileContent | None
    hardware: Hardware
    head: str | None = neutral()
    autoencoder_path: str | None = neutral()
    configuration: Mapping[str, Any] = neutral()
    logger: Logger = neutral()
    plugged: Mapping[str, Any] | None = neutral(None)
    early_step: int | None = where_given(None)

    @property
    def description(self) -> dict[str, Any]:
        """For `genuq.models.build`."""
        if self.plugged is not None:
            return dict(self.plugged)
        whole = {**self.model, "head": self.head}
        if self.autoencoder is None:
            return whole
        return whole | {"autoencoder": {**self.model["autoencoder"], "path": self.autoencoder_path}}


class Train(Stage[TrainInputs]):
    """Leaves model.safetensors: EMA weights (of genuq's networks in float16), the description, and the configuration,
    data and final loss; and early.safetensors, those after an earlier step, where one is asked for.
    """

    name = "train"
    shared = True

    def inputs(self, run: Run) -> TrainInputs:
        trainer, content, part = run.config.trainer, autoencoder_content(run), model_part(run)
        start, description = trainer.start_from, description_of(run)
        autoencoder = description.get("autoencoder") or {}
        own_vae = autoencoder.get("name") == "vae"
        identity = None if part is None else identity_of(plugged_model(run, part))
        return TrainInputs(
            seed=run.config.seed,
            data=data_inputs(run, "train", "test"),
            model=content_described(description, content) if identity is None else identity,
            autoencoder=content,
            trainer=schedule_of(run),
            steps=trainer.steps,
            autoencoder_steps=trainer.autoencoder_steps if own_vae and start is None else None,
            start_from=None if start is None else FileContent(run.sha256(start), Path(start)),
            hardware=hardware_of(run, shards=True),
            head=description.get("head"),
            autoencoder_path=autoencoder.get("path"),
            configuration=run.plain("seed", "data", "model", "network", "trainer"),
            logger=logger_of(run, self.name),
            plugged=None if part is None else description,
            early_step=early_step_of(run),
        )

    def work(self, inputs: TrainInputs, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        model = trained(inputs, folder.path, display)
        return kept(inputs, folder.path, model) if collectives.is_first_process() else {}


def content_described(description: Mapping[str, Any], autoencoder: str | None) -> dict[str, Any]:
    """A model's description without its head, and without the path of an autoencoder that is known by its content."""
    model = {key: value for key, value in description.items() if key != "head"}
    if autoencoder is None:
        return model
    return model | {"autoencoder": {key: value for key, value in model["autoencoder"].items() if key != "path"}}


def schedule_of(run: Run) -> GenerativeSchedule:
    """How the run trains its model."""
    return GenerativeSchedule(**{part.name: run.config.trainer[part.name] for part in fields(GenerativeSchedule)})


def early_step_of(run: Run) -> int | None:
    """After how many steps the run keeps earlier weights.

    Raises:
        ConfigurationError: not before the last step.
    """
    step, steps = run.config.trainer.early_step, run.config.trainer.steps
    if step is not None and step >= steps:
        raise ConfigurationError(
            f"trainer.early_step = {step}, but the training ends after trainer.steps = {steps}: give fewer, a quarter "
            "of them for instance."
        )
    return None if step is None else int(step)


def trained(inputs: TrainInputs, folder: Path, display: Display) -> GenerativeModel:
    """The model with averaged weights; its autoencoder, where that is ours, is trained first."""
    from genuq.training.modules import AutoencoderTraining, GenerativeTraining

    seed_everything(inputs.seed)
    model, optimisation = initial(inputs), inputs.trainer.of(inputs.steps, inputs.seed)
    if inputs.autoencoder_steps is not None:
        assert isinstance(model.autoencoder, VAEAutoencoder)
        schedule = inputs.trainer.of(inputs.autoencoder_steps, inputs.seed)
        vae = AutoencoderTraining(model.autoencoder, inputs.data.train, schedule)
        train(vae, inputs.hardware.undivided, folder / "autoencoder", inputs.logger, display)
        vae.measure_scale()
    training = GenerativeTraining(model, inputs.data.train, optimisation)
    early = [] if inputs.early_step is None else [keeping_early(inputs, inputs.early_step, model, folder)]
    train(training, inputs.hardware, folder / "model", inputs.logger, display, early)
    if inputs.hardware.strategy == fsdp.STRATEGY:
        model.network = models.build(inputs.description).network  # whole
        model.cpu()
    model.network.load_state_dict(fsdp.whole(training.averaged.state_dict()))
    return model


def keeping_early(inputs: TrainInputs, step: int, model: GenerativeModel, folder: Path) -> EarlyWeights:
    """Writes early.safetensors after a step: the model with the weights averaged until then."""
    from genuq.training.trainer import EarlyWeights

    def keep(weights: Mapping[str, Tensor]) -> None:
        if collectives.is_first_process():
            with isolated():
                early = models.build(inputs.description)
            early.autoencoder.load_state_dict(model.autoencoder.state_dict())
            early.network.load_state_dict(weights)
            notes = {"step": step, "of_steps": inputs.steps, "configuration": inputs.configuration}
            save_model(folder / EARLY, early, inputs.description, notes, half=inputs.plugged is None)

    return EarlyWeights(step, keep)


def initial(inputs: TrainInputs) -> GenerativeModel:
    """A fresh model, or one with the weights of another whose network is the same; the rest may differ."""
    model, source = models.build(inputs.description), inputs.start_from
    if source is not None:
        restore(model, source.path)
    if inputs.plugged is not None:
        require_as_built(inputs, model)
        model.network.train()
    return model


def require_as_built(inputs: TrainInputs, model: GenerativeModel) -> None:
    """Raise ConfigurationError for a model of a user's own whose first weights are others each time it is built."""
    if inputs.start_from is None and digest(model.state_dict()) != inputs.model["built"]:
        raise ConfigurationError(
            f"model '{inputs.model['part']['name']}' has other weights each time it is built. Draw them from torch's "
            "own generator, which genuq seeds, or read them from a file."
        )


def kept(inputs: TrainInputs, folder: Path, model: GenerativeModel) -> dict[str, Any]:
    """Write the trained model; returns the notes of it."""
    notes: dict[str, Any] = {
        "data": inputs.data.train.name,
        "data_fingerprint": inputs.data.train.fingerprint,
        "test_loss": test_loss(model, inputs.data.test, inputs.seed),
        "configuration": inputs.configuration,
    }
    half = inputs.plugged is None  # a network of a user's own may hold numbers beyond those of half precision
    save_model(folder / "model.safetensors", model.cpu(), inputs.description, notes, half)
    for part in ("model", "autoencoder"):  # what a killed training would have gone on from
        shutil.rmtree(folder / part, ignore_errors=True)
    return notes


@dataclass(frozen=True)
class JudgeTrainingInputs:
    """What the judging classifier depends on.

    Attributes:
        data: training images, those of starved classes too and all with their own labels, or the judge would know as
            little of what is missing as the model; and test images for its accuracy.
        judge_steps: of its training.
        logger: looks on.
    """

    seed: int
    data: DataInputs
    trainer: Schedule
    judge_steps: int
    hardware: Hardware
    logger: Logger = neutral()


class TrainJudge(Stage[JudgeTrainingInputs]):
    """Leaves judge.safetensors: the judging classifier, with its accuracy on real test images."""

    name = "judge"
    shared = True

    def inputs(self, run: Run) -> JudgeTrainingInputs:
        trainer = run.config.trainer
        return JudgeTrainingInputs(
            seed=run.config.seed,
            data=data_inputs(run, "train", "test", starved=False),
            trainer=Schedule(**{part.name: trainer[part.name] for part in fields(Schedule)}),
            judge_steps=trainer.judge_steps,
            hardware=hardware_of(run),
            logger=logger_of(run, self.name),
        )

    def work(self, inputs: JudgeTrainingInputs, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        from genuq.training.modules import ClassifierTraining

        training_set = inputs.data.train
        options: dict[str, Any] = {"shape": list(training_set.shape), "num_classes": training_set.num_classes}
        seed_everything(inputs.seed)
        optimisation = inputs.trainer.of(inputs.judge_steps, inputs.seed)
        training = ClassifierTraining(Classifier(**options), training_set, optimisation)
        train(training, inputs.hardware, folder.path / "judge", inputs.logger, display)
        if not collectives.is_first_process():
            return {}
        accuracy = training.accuracy(inputs.data.test)
        save_classifier(folder.path / "judge.safetensors", training.classifier.cpu(), options, accuracy)
        shutil.rmtree(folder.path / "judge", ignore_errors=True)
        display.say(f"the judge finds the class of {accuracy:.1%} of the real test images")
        return {"real_test_accuracy": accuracy}


def logger_of(run: Run, stage: str) -> Logger:
    """Asks the run's tracker for a logger of a stage's training."""
    return lambda part, display: run.tracker.training_logger(run, stage, part, display)


@torch.no_grad()
def test_loss(model: GenerativeModel, test_set: Dataset, seed: int, images: int = 2048) -> float:
    """Mean squared error of the averaged weights' prediction on real test images, at stratified times."""
    indices = range(min(images, len(test_set)))
    model.eval()
    squared = [
        (model(batch.x, batch.t, batch.y) - batch.target).square().flatten(1).mean(1)
        for batch in regression_batches(model, test_set, indices, 256, seed, HELD_OUT)
    ]
    return float(torch.cat(squared).mean())


def train(
    module: Training,
    hardware: Hardware,
    folder: Path,
    logger: Logger,
    display: Display,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Train to the end what `folder` is called after, from the last checkpoint in it if there is one."""
    from lightning.pytorch.callbacks import RichProgressBar

    from genuq.training.trainer import complete

    what = folder.name
    display.say(f"training the {what}: {module.optimisation.steps} steps of {module.optimisation.batch_size}")
    complete(module, hardware, folder, logger(what, display), [RichProgressBar(leave=True), *callbacks])
