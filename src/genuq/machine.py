"""The process around long numerical work: memory allocation, and noise from libraries."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import warnings

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def prepare() -> None:
    """Set the process up for long numerical work; called once, before any large allocation."""
    keep_freed_memory()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*(does not have many workers|across ranks is zero).*")
    quieten_lightning()


def quieten_lightning() -> None:
    """Errors only: its hardware tables and tips hide the run's own lines. Again after Hydra has set up logging."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.ERROR)
        logger.propagate = False


def machine() -> str:
    """What sets how long things take here: processors, threads, GPU. Names no machine."""
    import torch

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{platform.machine()}, {os.cpu_count()} processors, {torch.get_num_threads()} threads{gpu}"


def keep_freed_memory(trim_threshold: int = 1 << 30, pad: int = 64 << 20) -> None:
    """Let glibc reuse freed blocks instead of returning each to the kernel and faulting it in again.

    Activations of a small network are freed and allocated thousands of times a second; on the CPU the page faults
    cost about as much as the arithmetic. Without effect where the C library has no mallopt.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for parameter, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, trim_threshold), (M_TOP_PAD, pad)):
        mallopt(parameter, value)
