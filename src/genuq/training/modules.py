"""Lightning modules that train: the generative model (with EMA), its autoencoder, and the judging classifier."""

from __future__ import annotations

import math
from typing import Any

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from genuq.data import Dataset
from genuq.errors import require_finite
from genuq.models import GenerativeModel, VAEAutoencoder
from genuq.networks import VAE, Classifier
from genuq.parallel.fsdp import divide, parts
from genuq.randomness import TRAINING, generator, key
from genuq.training.batches import StepBatches, TrainingBatch, loader, step_noise
from genuq.training.optimisation import Optimisation


class Training(lightning.LightningModule):
    """What the trainings share: keyed batches that resume at their step, the optimiser, the check of the loss.

    Attributes:
        group: of the configuration, whose learning rate it is.
        clips: whether `trainer.gradient_clip` holds; not where the gradients themselves are averaged.
    """

    group = "trainer"
    clips = True

    def __init__(self, dataset: Dataset, optimisation: Optimisation) -> None:
        super().__init__()
        self.dataset, self.optimisation = dataset, optimisation

    def batch_loss(self, batch: TrainingBatch) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} defines no loss")

    def training_step(self, batch: TrainingBatch, batch_index: int) -> Tensor:
        share = TrainingBatch(*batch)
        torch.manual_seed(key(self.optimisation.seed, share.step, f"dropout from row {share.rows.start}"))
        loss = self.batch_loss(share)
        require_finite(
            loss.detach(),
            f"the training loss at step {self.global_step}",
            f"Lower {self.group}.learning_rate, or use trainer.precision=32-true.",
        )
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def train_dataloader(self) -> Any:
        settings = self.optimisation
        batches = StepBatches(
            self.dataset,
            settings.batch_size,
            settings.steps,
            settings.seed,
            self.trainer.global_rank,
            self.trainer.world_size,
        )
        return loader(batches, self.trainer.global_step)

    def configure_optimizers(self) -> Any:
        settings = self.optimisation
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimiser = torch.optim.AdamW(
            trained, lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=settings.weight_decay
        )

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self.rate)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def rate(self, step: int) -> float:
        """The learning rate at a step, as a share of the highest."""
        settings = self.optimisation
        if step < settings.warmup_steps:
            return (step + 1) / settings.warmup_steps
        return 0.5 * (1 + math.cos(math.pi * min(1.0, step / settings.steps)))


class Regression(Training):
    """Regression of the model's prediction target at random times. The autoencoder stays frozen."""

    def __init__(self, model: GenerativeModel, dataset: Dataset, optimisation: Optimisation) -> None:
        super().__init__(dataset, optimisation)
        model.autoencoder.requires_grad_(False)
        self.model = model

    def batch_loss(self, batch: TrainingBatch) -> Tensor:
        return F.mse_loss(*self.predicted(batch))

    def predicted(self, batch: TrainingBatch) -> tuple[Tensor, Tensor]:
        """(prediction, target) of a batch, each (B, *latent_shape)."""
        settings, model = self.optimisation, self.model
        with torch.no_grad():
            latents = model.autoencoder.encode(batch.images)
        random = step_noise(batch, model.latent_shape, settings.seed, settings.class_dropout)
        t, noise, drop = (part.to(latents.device) for part in random)
        classes = batch.classes if model.num_classes else None
        if classes is not None and model.has_null:  # else there is no null class to hide it behind
            classes = torch.where(drop, model.null_of(classes), classes)
        x_t, target = model.target(latents, noise, t)
        return model.predicted(x_t, t.to(latents.dtype), classes), target


class GenerativeTraining(Regression):
    """Keeps an exponential moving average of the weights: `averaged` is what later stages use."""

    def __init__(self, model: GenerativeModel, dataset: Dataset, optimisation: Optimisation) -> None:
        super().__init__(model, dataset, optimisation)
        self.ema = AveragedModel(model.network, multi_avg_fn=_ema_update(optimisation.ema_decay), use_buffers=True)
        self.ema.requires_grad_(False)

    def configure_model(self) -> None:
        """Lightning's hook: divide the weights and their averages alike, where the strategy does."""
        if self.device_mesh is not None:
            for network in (self.model.network, self.averaged):
                divide(network, self.device_mesh["data_parallel"])

    @property
    def averaged(self) -> nn.Module:
        """The network with averaged weights."""
        return self.ema.module

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """Averages here, not in a hook after the batch: the checkpoint is written before those."""
        super().optimizer_step(*arguments, **options)
        self.ema.update_parameters(self.model.network)


class AutoencoderTraining(Training):
    """Reconstruction plus a small KL term; afterwards the latents' standard deviation becomes the scale."""

    def __init__(
        self, autoencoder: VAEAutoencoder, dataset: Dataset, optimisation: Optimisation, kl_weight: float = 1e-3
    ) -> None:
        super().__init__(dataset, optimisation)
        self.autoencoder, self.kl_weight = autoencoder, kl_weight

    @property
    def vae(self) -> VAE:
        return self.autoencoder.vae

    def batch_loss(self, batch: TrainingBatch) -> Tensor:
        source = generator(self.optimisation.seed, batch.step, TRAINING)
        noise = torch.randn(batch.batch_size, *self.vae.latent_shape, generator=source)[batch.rows]
        return self.vae.loss(batch.images, noise.to(batch.images), self.kl_weight)

    @torch.no_grad()
    def measure_scale(self) -> None:
        """Set the latents' scale; not a hook, as a training resumed at its last step calls none."""
        images, _ = self.dataset.batch(range(min(2048, len(self.dataset))))
        means = torch.cat([self.vae.encode(chunk.to(self.device))[0] for chunk in images.split(256)])
        self.autoencoder.scale.copy_(means.double().std().float())


class ClassifierTraining(Training):
    """Cross-entropy with horizontal flips and small shifts where `augment` is set."""

    def __init__(
        self, classifier: Classifier, dataset: Dataset, optimisation: Optimisation, augment: bool = True
    ) -> None:
        super().__init__(dataset, optimisation)
        self.classifier, self.augment = classifier, augment

    def batch_loss(self, batch: TrainingBatch) -> Tensor:
        images = batch.images
        if self.augment:
            images = augmented(images, generator(self.optimisation.seed, batch.step, TRAINING), largest_shift=2)
        return F.cross_entropy(self.classifier(images), batch.classes, label_smoothing=0.05)

    @torch.no_grad()
    def accuracy(self, dataset: Dataset, batch_size: int = 500) -> float:
        """Share of `dataset` whose class the classifier finds."""
        self.classifier.eval()
        right = 0
        for start in range(0, len(dataset), batch_size):
            images, classes = dataset.batch(range(start, min(start + batch_size, len(dataset))))
            right += int((self.classifier(images.to(self.device)).argmax(1).cpu() == classes).sum())
        return right / len(dataset)


def augmented(images: Tensor, source: torch.Generator, largest_shift: int) -> Tensor:
    """The batch, each image mirrored with probability one half, all of them shifted by the same few pixels."""
    flip = torch.rand(len(images), generator=source) < 0.5
    shift = torch.randint(-largest_shift, largest_shift + 1, (2,), generator=source).tolist()
    images = torch.where(flip.to(images.device)[:, None, None, None], images.flip(-1), images)
    return torch.roll(images, shift, dims=(-2, -1))


def _ema_update(decay: float) -> Any:
    """A multi_avg_fn whose decay starts low, so that early weights are soon forgotten; resumes from the count."""

    def update(averaged: Any, current: Any, count: Tensor) -> None:
        warm = min(decay, (1 + float(count)) / (10 + float(count)))
        torch._foreach_lerp_(parts(averaged), parts(current), 1 - warm)

    return update
