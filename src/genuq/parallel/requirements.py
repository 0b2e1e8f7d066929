"""Settings of the hardware that cannot work, refused before any work. Lightning is slow to import and is not asked."""

from __future__ import annotations

import torch

from genuq.errors import ConfigurationError
from genuq.parallel import fsdp
from genuq.parallel.hardware import FORKING, Hardware


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
    of_cuda, of_apple = torch.cuda.device_count(), int(torch.backends.mps.is_available())
    graphics = of_cuda or of_apple
    present = {"auto": 1, "cpu": 1, "gpu": graphics, "cuda": of_cuda, "mps": of_apple}
    if not present[settings.accelerator]:
        raise ConfigurationError(
            f"trainer.accelerator = '{settings.accelerator}', but this machine has none. Use auto, or cpu."
        )
    on_graphics = settings.accelerator != "cpu" and graphics > 0
    if settings.devices == -1 and not on_graphics:
        raise ConfigurationError("trainer.devices = -1 means all GPUs, but no GPU is used. Give a number of processes.")
    if on_graphics and settings.devices > graphics:
        raise ConfigurationError(f"trainer.devices = {settings.devices}, but this machine has {graphics} GPUs.")
