"""Training: it learns, it averages, it stops at nonsense, and it is the same whatever the number of processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy

from genuq.data import as_dataset, gaussian_mixture
from genuq.errors import NonFiniteError
from genuq.models import GenerativeModel, VAEAutoencoder
from genuq.networks import MLP, VAE, Classifier
from genuq.training.modules import (
    AutoencoderTraining,
    ClassifierTraining,
    GenerativeTraining,
    Optimisation,
    Training,
    augmented,
)
from support.programs import environment


def mixture_training(steps: int, **options: float) -> GenerativeTraining:
    torch.manual_seed(0)
    model = GenerativeModel(MLP((2,), width=32, depth=1), shape=(2,))
    settings = {"batch_size": 64, "learning_rate": 3e-3, "warmup_steps": 2, **options}
    return GenerativeTraining(model, gaussian_mixture(8, 512), Optimisation(steps=steps, **settings))


def run(training: Training, **options: object) -> list[float]:
    """Train on the CPU; the loss of every step."""
    losses: list[float] = []

    class Record(lightning.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            losses.append(float(outputs["loss"]))

    trainer = lightning.Trainer(
        max_steps=training.optimisation.steps,
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[Record()],
        **{"devices": 1, **options},
    )
    trainer.fit(training)
    return losses


def small_images() -> torch.Tensor:
    """32 images (1, 8, 8): a bright half against a dark one, top or bottom."""
    images = torch.zeros(32, 1, 8, 8, dtype=torch.uint8)
    images[::2, :, :4], images[1::2, :, 4:] = 220, 220
    return images


def test_the_loss_falls() -> None:
    losses = run(mixture_training(80, learning_rate=1e-2))
    assert len(losses) == 80
    assert sum(losses[-20:]) / 20 < 0.85 * sum(losses[:10]) / 10


def test_the_average_is_the_recurrence_over_the_raw_weights() -> None:
    """Against a plain loop: the weights after each step, averaged with the warmed-up decay."""
    training, raw = mixture_training(6, ema_decay=0.9), []
    name = "head.weight"
    step = Training.optimizer_step

    def spied(self: Training, *arguments: object, **options: object) -> None:
        step(self, *arguments, **options)
        raw.append(training.model.network.state_dict()[name].clone())

    Training.optimizer_step = spied  # type: ignore[method-assign]
    try:
        run(training)
    finally:
        del Training.optimizer_step
    expected = raw[0]  # the first average is a copy
    for count, weight in enumerate(raw[1:], start=1):
        decay = min(0.9, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * weight
    averaged = training.averaged.state_dict()[name]
    assert torch.allclose(averaged, expected, atol=1e-6)
    assert not torch.allclose(averaged, raw[-1], atol=1e-4)


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    training = mixture_training(5)
    with torch.no_grad():
        training.model.network.entry.weight[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"training loss at step 0.*trainer\.learning_rate"):
        run(training)


def test_the_autoencoder_learns_and_its_latents_get_unit_variance() -> None:
    torch.manual_seed(0)
    dataset = as_dataset(small_images())
    autoencoder = VAEAutoencoder(VAE((1, 8, 8), latent_channels=2, channels=[8, 8]))
    training = AutoencoderTraining(autoencoder, dataset, Optimisation(steps=12, batch_size=16, warmup_steps=1))
    losses = run(training)
    training.measure_scale()
    assert losses[-1] < losses[0]
    assert float(autoencoder.encode(dataset.batch(range(32))[0]).std()) == pytest.approx(1, abs=1e-3)


def test_the_judge_learns_to_tell_two_classes_apart() -> None:
    torch.manual_seed(0)
    dataset = as_dataset(small_images(), labels=torch.arange(32) % 2)
    classifier = Classifier((1, 8, 8), num_classes=2, channels=(4, 4, 4), features=4, dropout=0.0)
    training = ClassifierTraining(
        classifier, dataset, Optimisation(steps=60, batch_size=16, warmup_steps=2, learning_rate=1e-2), augment=False
    )
    run(training)
    assert training.accuracy(dataset) == 1.0


def test_dropout_belongs_to_the_step_whatever_was_drawn_before() -> None:
    weights = []
    for stray_seed in (1, 2):
        torch.manual_seed(0)
        classifier = Classifier((1, 8, 8), 2, channels=(4, 4, 4), features=8, dropout=0.5)
        torch.manual_seed(stray_seed)  # as after a resumption, where the global generator stands elsewhere
        dataset = as_dataset(small_images(), torch.arange(32) % 2)
        run(ClassifierTraining(classifier, dataset, Optimisation(steps=4, batch_size=16, warmup_steps=1)))
        weights.append(torch.cat([weight.flatten() for weight in classifier.parameters()]))
    assert torch.equal(*weights)


def test_augmentation_flips_and_shifts_without_changing_values() -> None:
    images = torch.arange(2 * 64, dtype=torch.float32).reshape(2, 1, 8, 8)
    moved = augmented(images, torch.Generator().manual_seed(1), largest_shift=2)
    assert torch.equal(moved.flatten(1).sort(1).values, images.flatten(1).sort(1).values)


def write_weights(path: Path, devices: int) -> None:
    """Three steps of training; the averaged weights of the first process go to `path`."""
    training = mixture_training(3)
    gloo = DDPStrategy(start_method="fork", process_group_backend="gloo")
    run(training, devices=devices, strategy=gloo if devices > 1 else "auto")
    if training.global_rank == 0:
        torch.save(training.averaged.state_dict(), path)


@pytest.mark.slow
def test_two_processes_train_the_same_weights_as_one(tmp_path: Path) -> None:
    """In a process of their own: autograd refuses to work in a fork of a process that has used it."""
    write_weights(tmp_path / "one.pt", devices=1)
    code = "import sys; from pathlib import Path; import test_modules as module\n"
    code += "module.write_weights(Path(sys.argv[1]), devices=2)"
    arguments = [sys.executable, "-c", code, str(tmp_path / "two.pt")]
    subprocess.run(arguments, check=True, timeout=1800, env=environment(__file__))
    one, two = (torch.load(tmp_path / f"{name}.pt") for name in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], atol=1e-6) for name in one)
    assert not torch.allclose(two["head.weight"], mixture_training(3).averaged.head.weight, atol=1e-4)


@pytest.mark.parametrize("dropout", [0.1, 1.0])
def test_no_class_is_hidden_from_a_network_without_a_null_class(dropout: float) -> None:
    shown: list[torch.Tensor] = []

    def call(network: torch.nn.Module, x: torch.Tensor, t_B: torch.Tensor, y_B: torch.Tensor | None) -> torch.Tensor:
        assert y_B is not None
        shown.append(y_B)
        return network(x, t_B)

    data = gaussian_mixture(8, 64)
    model = GenerativeModel(MLP((2,)), (2,), num_classes=data.num_classes, call=call, guidance=None)
    run(GenerativeTraining(model, data, Optimisation(steps=3, batch_size=16, warmup_steps=1, class_dropout=dropout)))
    assert int(torch.cat(shown).max()) < data.num_classes
