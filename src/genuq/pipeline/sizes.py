"""Whether a run's network fits this machine, known before any of it is allocated."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from genuq import networks
from genuq.errors import ConfigurationError
from genuq.models.description import build_autoencoder
from genuq.pipeline.configured import description_of, model_part
from genuq.pipeline.run import Run
from genuq.randomness import isolated

LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container


def check_size(run: Run) -> None:
    """Raise ConfigurationError for a network of genuq's whose weights alone are more than this machine's memory."""
    if model_part(run) is not None:
        return
    needed, held = bytes_of_network(run), memory()
    if needed > held:
        own = ", ".join(f"network.{key} = {value}" for key, value in run.plain("network")["network"].items())
        raise ConfigurationError(
            f"{own}: its weights alone take {needed / 2**30:.1f} GiB, and this machine has {held / 2**30:.1f} GiB. "
            "Choose a smaller network."
        )


def bytes_of_network(run: Run) -> int:
    """Of its weights, which are never allocated; 0 for a network on latents whose shape only diffusers knows."""
    description = description_of(run)
    shape, autoencoder = tuple(description["shape"]), description["autoencoder"]
    if autoencoder is not None and autoencoder["name"] != "vae":
        return 0
    with isolated(), torch.device("meta"):
        latent = build_autoencoder(autoencoder, shape).latent_shape(shape)
        network = networks.build(shape=latent, num_classes=description["num_classes"], **description["network"])
    return sum(weight.numel() * weight.element_size() for weight in network.parameters())


def memory() -> int:
    """Bytes of this machine, or of the container that the process runs in."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    said = LIMIT.read_text().strip() if LIMIT.is_file() else ""
    return min(whole, int(said)) if said.isdigit() else whole
