"""A slope that is held from one estimate to the next, where the true one is known."""

from __future__ import annotations

import torch

from genuq.propagators.slope import HeldSlope
from support.toy_runs import random_model


def test_a_held_slope_of_gaussian_data_is_right_at_every_time():
    model = random_model(process="variance_preserving", prediction="epsilon")
    variance = torch.tensor([0.01, 0.3, 2.0], dtype=torch.float64)

    def exact(t: float) -> torch.Tensor:
        """Cov(eps, x_t) / Var(x_t)."""
        alpha, sigma = model.process.alpha(t), model.process.sigma(t)
        return sigma / (alpha.square() * variance + sigma.square())

    held = HeldSlope(model.process, "epsilon", 0.7, exact(0.7), torch.ones(1, 3, dtype=torch.float64))
    for t in (0.7, 0.5, 0.1):
        slope, others = held.at(t)
        torch.testing.assert_close(slope, exact(t), rtol=1e-6, atol=0)
        ratio = (model.process.sigma(0.7) / model.process.alpha(0.7)) / (
            model.process.sigma(t) / model.process.alpha(t)
        )
        torch.testing.assert_close(others, ratio * torch.ones(1, 3, dtype=torch.float64))
