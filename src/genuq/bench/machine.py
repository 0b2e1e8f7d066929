"""What a measurement was made on: every record says so."""

from __future__ import annotations

import datetime
import functools
import platform

import torch


@functools.cache
def machine() -> dict[str, str]:
    """The machine in words, the version of torch, and the day."""
    return {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {_processor()}",
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
