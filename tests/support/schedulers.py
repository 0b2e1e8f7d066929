"""diffusers' schedulers beside genuq's solvers: the noise schedules, the time of a timestep, an arbitrary prediction.

diffusers counts discrete timesteps n; genuq's time is t = (n + 1) / 1000."""

from __future__ import annotations

import pytest
import torch

BETAS = {
    "linear": {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"},
    "scaled_linear": {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}
THEIR_PREDICTIONS = ["epsilon", "sample", "v_prediction"]
schedules = pytest.mark.parametrize("schedule", BETAS)
their_predictions = pytest.mark.parametrize("prediction", THEIR_PREDICTIONS)


def tensors(count: int) -> list[torch.Tensor]:
    source = torch.Generator().manual_seed(3)
    return [torch.randn(2, 3, generator=source, dtype=torch.float64) for _ in range(count)]


def time_of(timestep: float) -> float:
    return (float(timestep) + 1) / 1000


def predict(x: torch.Tensor, t: float) -> torch.Tensor:
    return torch.tanh(x) * (1 + t)
