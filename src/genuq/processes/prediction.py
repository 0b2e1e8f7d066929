"""The one place that converts between prediction types.

Each type f is linear in (x_0, eps), so that x0_hat = a x_t + b f and eps_hat = c x_t + d f.
Names are diffusers': `epsilon`, `sample` (x_0), `v_prediction` (Salimans & Ho 2022), `flow` (velocity dx/dt).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from genuq.errors import ConfigurationError, did_you_mean
from genuq.processes.base import Process, Time, float64

PREDICTIONS = ("epsilon", "sample", "v_prediction", "flow")


class Conversion(NamedTuple):
    """x0_hat = x0_x * x_t + x0_f * f and eps_hat = eps_x * x_t + eps_f * f."""

    x0_x: Tensor
    x0_f: Tensor
    eps_x: Tensor
    eps_f: Tensor


def target_coefficients(prediction: str, process: Process, t: Time) -> tuple[Tensor, Tensor]:
    """(p, q) with f = p x_0 + q eps: what the network is trained to predict at time t.

    Raises:
        ConfigurationError: unknown prediction type.
    """
    alpha, sigma = process.alpha(t), process.sigma(t)
    zero, one = torch.zeros_like(alpha), torch.ones_like(alpha)
    if prediction == "epsilon":
        return zero, one
    if prediction == "sample":
        return one, zero
    if prediction == "v_prediction":
        return -sigma, alpha
    if prediction == "flow":
        return process.derivatives(t)
    raise ConfigurationError(
        f"model.prediction = '{prediction}' is not a prediction type." + did_you_mean(prediction, PREDICTIONS)
    )


def conversion(prediction: str, process: Process, t: Time) -> Conversion:
    """Coefficients from (x_t, f) to (x0_hat, eps_hat), float64, in the shape of t.

    Solves the 2x2 system x_t = alpha x_0 + sigma eps, f = p x_0 + q eps. Where f says nothing of x_0 (`epsilon` at
    alpha = 0) or of eps (`sample` at sigma = 0), the coefficients of that one are infinite. Where f itself is infinite
    (`flow` at t = 0 of a variance-preserving path), they are the limits.
    """
    alpha, sigma = process.alpha(t), process.sigma(t)
    p, q = target_coefficients(prediction, process, t)
    if prediction == "epsilon":
        return Conversion(1 / alpha, -sigma / alpha, p, q)
    if prediction == "sample":
        return Conversion(q, p, 1 / sigma, -alpha / sigma)
    determinant = alpha * q - sigma * p
    # q / determinant, written so that q may be 0 or infinite.
    x0_x = 1 / (alpha - sigma * (p / q))
    return Conversion(x0_x, -sigma / determinant, -p / determinant, alpha / determinant)


def target(prediction: str, process: Process, x0: Tensor, noise: Tensor, t_B: Tensor) -> Tensor:
    """The regression target (B, ...) for data x0, noise eps and times t (B,)."""
    p, q = (
        coefficient.to(x0.dtype).reshape(-1, *[1] * (x0.ndim - 1))
        for coefficient in target_coefficients(prediction, process, float64(t_B))
    )
    return p * x0 + q * noise
