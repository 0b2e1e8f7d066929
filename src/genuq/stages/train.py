"""The stages that train: the model, with its autoencoder where that is ours; and the classifier that judges."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import RichProgressBar

from genuq import models
from genuq.models import GenerativeModel, VAEAutoencoder
from genuq.networks import Classifier
from genuq.posteriors.regression import regression_batches
from genuq.randomness import HELD_OUT
from genuq.stages import neutral, sharding
from genuq.stages.artefacts import StageFolder
from genuq.stages.checkpoints import load_model, save_classifier, save_model
from genuq.stages.loggers import lightning_logger
from genuq.stages.progress import Display
from genuq.stages.run import Run
from genuq.stages.stage import Stage
from genuq.stages.trainer import Hardware, complete
from genuq.stages.training import AutoencoderTraining, ClassifierTraining, GenerativeTraining, Optimisation, Training


class Train(Stage):
    """Leaves model.safetensors: EMA weights in float16, the description, and the configuration, data and final loss."""

    name = "train"
    shared = True
    groups = ("data", "model", "network", "trainer")

    def settings(self, run: Run) -> dict[str, Any]:
        settings = super().settings(run)
        for key in ("checkpoint", "head"):
            settings["model"].pop(key)
        if (autoencoder := run.autoencoder_content()) is not None:
            settings["model"]["autoencoder"]["path"] = autoencoder
        trainer = neutral.without_neutral(settings["trainer"], "trainer.")
        start = trainer["start_from"]
        trainer["start_from"] = None if start is None else run.sha256(start)
        unread = ("judge_steps",) if trains_autoencoder(run) else ("judge_steps", "autoencoder_steps")
        settings["trainer"] = {key: value for key, value in trainer.items() if key not in unread}
        return settings | {"data": run.contents("train", "test")}

    def work(self, run: Run, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        model = self.trained(run, folder, display)
        notes: dict[str, Any] = {
            "data": run.training_set.name,
            "data_fingerprint": run.training_set.fingerprint,
            "test_loss": test_loss(run, model),
            "configuration": run.plain("seed", "data", "model", "network", "trainer"),
        }
        save_model(folder.path / "model.safetensors", model.cpu(), run.description(), notes)
        for part in ("model", "autoencoder"):  # what a killed training would have gone on from
            shutil.rmtree(folder.path / part, ignore_errors=True)
        return notes

    def assist(self, run: Run, display: Display) -> None:
        self.trained(run, self.folder(run), display)

    def trained(self, run: Run, folder: StageFolder, display: Display) -> GenerativeModel:
        """The model with averaged weights; its autoencoder, where that is ours, is trained first."""
        lightning.seed_everything(run.config.seed, verbose=False)
        model, optimisation = self.initial(run), optimisation_of(run, run.config.trainer.steps)
        if trains_autoencoder(run):
            assert isinstance(model.autoencoder, VAEAutoencoder)
            vae = AutoencoderTraining(
                model.autoencoder, run.training_set, optimisation_of(run, run.config.trainer.autoencoder_steps)
            )
            fit(run, self.name, vae, folder.path / "autoencoder", display)
            vae.measure_scale()
        training = GenerativeTraining(model, run.training_set, optimisation)
        fit(run, self.name, training, folder.path / "model", display)
        if run.config.trainer.strategy == sharding.STRATEGY:
            model.network = models.build(run.description()).network  # whole
            model.cpu()
        model.network.load_state_dict(sharding.whole(training.averaged.state_dict()))
        return model

    def initial(self, run: Run) -> GenerativeModel:
        """A fresh model, or one with the weights of another whose network is the same; the rest may differ."""
        model, source = models.build(run.description()), run.config.trainer.start_from
        if source is not None:
            models.load_weights(model, load_model(source)[0].state_dict(), str(source))
        return model


def trains_autoencoder(run: Run) -> bool:
    """Whether the model's autoencoder is ours, and not taken over with the weights that the training starts from."""
    autoencoder = run.config.model.autoencoder
    return autoencoder is not None and autoencoder.name == "vae" and run.config.trainer.start_from is None


class TrainJudge(Stage):
    """Leaves judge.safetensors: the judging classifier, with its accuracy on real test images."""

    name = "judge"
    shared = True
    groups = ("data", "trainer")

    def settings(self, run: Run) -> dict[str, Any]:
        trainer = run.plain("trainer")["trainer"]
        kept = ("judge_steps", "batch_size", "learning_rate", "warmup_steps", "weight_decay")
        used = {key: trainer[key] for key in (*kept, "gradient_clip", "precision")}
        return run.plain("seed") | {"data": run.contents("train", "test"), "trainer": used}

    def work(self, run: Run, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        training = self.trained(run, folder, display)
        accuracy = training.accuracy(run.test_set)
        save_classifier(folder.path / "judge.safetensors", training.classifier.cpu(), self.options(run), accuracy)
        shutil.rmtree(folder.path / "judge", ignore_errors=True)
        display.say(f"the judge finds the class of {accuracy:.1%} of the real test images")
        return {"real_test_accuracy": accuracy}

    def assist(self, run: Run, display: Display) -> None:
        self.trained(run, self.folder(run), display)

    def options(self, run: Run) -> dict[str, Any]:
        return {"shape": list(run.training_set.shape), "num_classes": run.training_set.num_classes}

    def trained(self, run: Run, folder: StageFolder, display: Display) -> ClassifierTraining:
        lightning.seed_everything(run.config.seed, verbose=False)
        optimisation = optimisation_of(run, run.config.trainer.judge_steps)
        training = ClassifierTraining(Classifier(**self.options(run)), run.training_set, optimisation)
        fit(run, self.name, training, folder.path / "judge", display)
        return training


@torch.no_grad()
def test_loss(run: Run, model: GenerativeModel, images: int = 2048) -> float:
    """Mean squared error of the averaged weights' prediction on real test images, at stratified times."""
    indices = range(min(images, len(run.test_set)))
    model.eval()
    squared = [
        (model(batch.x, batch.t, batch.y) - batch.target).square().flatten(1).mean(1)
        for batch in regression_batches(model, run.test_set, indices, 256, run.config.seed, HELD_OUT)
    ]
    return float(torch.cat(squared).mean())


def optimisation_of(run: Run, steps: int) -> Optimisation:
    settings = run.config.trainer
    return Optimisation(
        steps=steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=min(settings.warmup_steps, max(1, steps // 5)),
        weight_decay=settings.weight_decay,
        ema_decay=settings.ema_decay,
        class_dropout=settings.class_dropout,
        seed=run.config.seed,
    )


def fit(run: Run, stage: str, module: Training, folder: Path, display: Display) -> None:
    """Train to the end what `folder` is called after, from the last checkpoint in it if there is one."""
    what = folder.name
    display.say(f"training the {what}: {module.optimisation.steps} steps of {module.optimisation.batch_size}")
    logger = lightning_logger(run, stage, what, display)
    shards = isinstance(module, GenerativeTraining)
    complete(module, hardware_of(run, shards), folder, logger, [RichProgressBar(leave=True)])


def hardware_of(run: Run, shards: bool = False) -> Hardware:
    """The trainer's hardware.

    Args:
        shards: whether a network that the strategy divides is to be divided; else every process holds it whole.
    """
    settings = run.config.trainer
    hardware = Hardware(**{field.name: settings[field.name] for field in fields(Hardware)})
    return hardware if shards or hardware.strategy != sharding.STRATEGY else replace(hardware, strategy="ddp")
