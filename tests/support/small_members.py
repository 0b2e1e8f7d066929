"""Ensembles small enough for a test: members of a network of the plane, made in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from genuq.data import gaussian_mixture
from genuq.models import GenerativeModel
from genuq.networks import MLP
from genuq.parallel.hardware import Hardware
from genuq.posteriors import Posterior
from genuq.training.ensembles import fit_members
from genuq.training.member_settings import MemberSettings

CPU = Hardware("cpu", checkpoint_every=2)
SMALL: dict[str, Any] = {"members": 2, "steps": 5, "batch_size": 16, "learning_rate": 1e-2, "hardware": CPU}
DESCRIPTION = {
    "shape": [2],
    "num_classes": 0,
    "prediction": "flow",
    "process": {"name": "flow_matching"},
    "network": {"name": "mlp", "width": 8, "depth": 1},
    "autoencoder": None,
    "head": None,
}


def fresh() -> MLP:
    return MLP((2,), width=8, depth=1)


def trained_model() -> GenerativeModel:
    torch.manual_seed(0)
    network = fresh()
    nn.init.normal_(network.head.weight, std=0.3)
    return GenerativeModel(network, (2,))


def points() -> Any:
    return gaussian_mixture(8, 64)


def settings(kind: str, **options: Any) -> MemberSettings:
    return MemberSettings(kind=kind, **SMALL | options)


def made(kind: str, folder: Path | None = None, **options: Any) -> Posterior:
    return fit_members(settings(kind, **options), trained_model(), points(), folder, fresh, DESCRIPTION)
