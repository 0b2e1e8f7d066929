"""Running a training to its end with Lightning, on any hardware, from where it was killed."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from genuq import files, machine
from genuq.errors import CheckpointError, ConfigurationError
from genuq.parallel import fsdp
from genuq.parallel.hardware import FORKING, Hardware
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


def check_trainer(settings: Hardware) -> None:
    """Raise ConfigurationError for a strategy that the command has not, or a precision that the strategy has not."""
    if settings.strategy in FORKING:
        raise ConfigurationError(
            f"trainer.strategy = '{settings.strategy}' lets Lightning start the processes, which the command does "
            "itself. Choose ddp."
        )
    if settings.strategy == fsdp.STRATEGY:
        if settings.precision not in fsdp.PRECISIONS:
            raise ConfigurationError(
                f"trainer.precision = '{settings.precision}' cannot be had with trainer.strategy = "
                f"'{fsdp.STRATEGY}'; choose {', '.join(fsdp.PRECISIONS)}."
            )
    elif settings.precision == "bf16-true":
        raise ConfigurationError(
            f"trainer.precision = 'bf16-true' keeps the weights themselves in 8 bits of precision, which is for "
            f"trainer.strategy = '{fsdp.STRATEGY}' alone. Choose bf16-mixed or 32-true."
        )


def require_hardware(settings: Hardware) -> None:
    """Raise ConfigurationError for an accelerator that this machine has not, or more GPUs than it has."""
    graphics = CUDAAccelerator.auto_device_count() or int(MPSAccelerator.is_available())
    present = {
        "auto": True,
        "cpu": True,
        "gpu": graphics > 0,
        "cuda": CUDAAccelerator.is_available(),
        "mps": MPSAccelerator.is_available(),
    }
    if not present[settings.accelerator]:
        raise ConfigurationError(
            f"trainer.accelerator = '{settings.accelerator}', but this machine has none. Use auto, or cpu."
        )
    on_graphics = settings.accelerator != "cpu" and graphics > 0
    if settings.devices == -1 and not on_graphics:
        raise ConfigurationError("trainer.devices = -1 means all GPUs, but no GPU is used. Give a number of processes.")
    if on_graphics and settings.devices > graphics:
        raise ConfigurationError(f"trainer.devices = {settings.devices}, but this machine has {graphics} GPUs.")
