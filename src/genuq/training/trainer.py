"""Running a training to its end with Lightning, on any hardware, from where it was killed."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from genuq import files, machine
from genuq.errors import CheckpointError
from genuq.parallel import fsdp
from genuq.parallel.hardware import Hardware
from genuq.training.modules import Training


def complete(
    module: Training,
    hardware: Hardware,
    folder: Path | None = None,
    logger: Any = False,
    callbacks: Sequence[lightning.Callback] = (),
) -> None:
    """Train to the last step, from the checkpoint in `folder` if there is one.

    Args:
        folder: for `last.ckpt`; without one nothing is written, and a killed training starts anew.

    Raises:
        CheckpointError: the checkpoint is truncated or was altered.
        NonFiniteError: the loss became NaN or infinite.
    """
    machine.quieten_lightning()
    last = None if folder is None else folder / "last.ckpt"
    resumes = last is not None and last.exists()
    if last is not None and resumes:
        require_whole(last)
    keep = [] if folder is None else [_keeping_last(folder, hardware.checkpoint_every)]
    trainer = lightning.Trainer(
        max_steps=module.optimisation.steps,
        max_epochs=-1,
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.num_nodes,
        strategy=fsdp.strategy() if hardware.strategy == fsdp.STRATEGY else hardware.strategy,
        precision=hardware.precision,  # type: ignore[arg-type]  # one of `hardware.PRECISIONS`
        gradient_clip_val=hardware.gradient_clip if module.clips else None,
        logger=logger,
        callbacks=[*keep, *callbacks],
        plugins=[WholeCheckpoints()],
        enable_checkpointing=folder is not None,
        enable_progress_bar=any(isinstance(part, lightning.pytorch.callbacks.ProgressBar) for part in callbacks),
        use_distributed_sampler=False,
        enable_model_summary=False,
        log_every_n_steps=20,
    )
    with warnings.catch_warnings():
        # a resumed loader starts at its step by itself, short trainings are no mistake, nor is a frozen autoencoder
        mistaken = "num_workers|not resumable|logging interval|is not empty|in eval mode|returned a view tensor"
        warnings.filterwarnings("ignore", message=f".*({mistaken}).*")
        try:
            trainer.fit(module, ckpt_path=str(last) if resumes else None, weights_only=True)
        except pickle.UnpicklingError as error:
            raise CheckpointError(
                f"{last} holds more than tensors and plain values, so genuq did not write it, and nothing of it was "
                "run. Delete it and run the same command again."
            ) from error


class EarlyWeights(lightning.Callback):
    """Hands on the averaged weights as they are after a step, while the training goes on.

    A training that is resumed after the step hands nothing on: it did so before the checkpoint that it resumes from.

    Args:
        step: after which.
        keep: given the weights by name, in every process.
    """

    def __init__(self, step: int, keep: Callable[[dict[str, Tensor]], None]) -> None:
        self.step, self.keep = step, keep

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        """Lightning's hook, which comes before the checkpoint of the same step is written."""
        if trainer.global_step == self.step:
            self.keep(fsdp.whole(module.averaged.state_dict()))


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all: Lightning's own go through the system's temporary folder, and on
    another disk than that they are copied into their place.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        with files.replacing(path) as temporary:
            torch.save(checkpoint, temporary)


def _keeping_last(folder: Path, every: int) -> ModelCheckpoint:
    return ModelCheckpoint(folder, "last", every_n_train_steps=every, enable_version_counter=False, save_last=False)


def require_whole(checkpoint: Path) -> None:
    """Raise CheckpointError for a truncated or altered checkpoint of a training, which is a zip archive."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            broken = archive.testzip()
    except zipfile.BadZipFile:
        broken = "its directory"
    if broken:
        raise CheckpointError(
            f"{checkpoint} is truncated or was altered ({broken} is broken). Delete it and run the same command again."
        )
