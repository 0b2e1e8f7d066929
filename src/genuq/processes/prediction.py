"""The one place that converts between prediction types.

Each type is a pair of coefficients, f = p(t) x_0 + q(t) eps, so that x0_hat = a x_t + b f and eps_hat = c x_t + d f.
Names are diffusers': `epsilon`, `sample` (x_0), `v_prediction` (Salimans & Ho 2022), `flow` (velocity dx/dt);
`minus_flow` is that of networks which predict the way to the data (Lumina 2, Z-Image), `edm` the F of Karras et al.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from genuq.errors import ConfigurationError, did_you_mean
from genuq.processes.base import Process, Time, float64

Coefficients = Callable[[Process, Time], tuple[Tensor, Tensor]]
EDM_DATA = 0.5  # standard deviation of the data that EDM's networks are preconditioned for


@dataclass(frozen=True)
class Prediction:
    """What a network predicts: f = p(t) x_0 + q(t) eps.

    Attributes:
        name: in messages.
        coefficients: (p, q), float64 in the shape of t, of a process and times; nowhere may f be a multiple of x_t.
    """

    name: str
    coefficients: Coefficients

    def __str__(self) -> str:
        return self.name


Predicted = Prediction | str  # or the name of one that is known


def _velocity(process: Process, t: Time) -> tuple[Tensor, Tensor]:
    """v = alpha eps - sigma x_0."""
    return -process.sigma(t), process.alpha(t)


def _minus_flow(process: Process, t: Time) -> tuple[Tensor, Tensor]:
    p, q = process.derivatives(t)
    return -p, -q


@functools.cache
def edm(sigma_data: float = EDM_DATA, name: str = "edm", sign: float = 1.0) -> Prediction:
    """EDM's F for data of another standard deviation than 0.5; minus v where it is 1.

    D(x; s) = c_skip x + c_out F with x = x_0 + s eps, of which the network is shown c_in x:
    with alpha = c_in and sigma = c_in s of that, F = (sigma / sigma_data) x_0 - sigma_data alpha eps.
    Source: Karras et al. 2022, table 1 and equation 8.

    Args:
        sigma_data: of the data.
        name: in messages.
        sign: -1 for networks of -F (diffusers' EDM schedulers with `v_prediction`).
    """

    def coefficients(process: Process, t: Time) -> tuple[Tensor, Tensor]:
        alpha, sigma = process.shown_coefficients(t)
        return sign * sigma / sigma_data, -sign * sigma_data * alpha

    return Prediction(name, coefficients)


def _constant(on_x0: float, on_eps: float) -> Coefficients:
    def coefficients(process: Process, t: Time) -> tuple[Tensor, Tensor]:
        alpha = process.alpha(t)
        return torch.full_like(alpha, on_x0), torch.full_like(alpha, on_eps)

    return coefficients


_KNOWN = {
    known.name: known
    for known in (
        Prediction("epsilon", _constant(0.0, 1.0)),
        Prediction("sample", _constant(1.0, 0.0)),
        Prediction("v_prediction", _velocity),
        Prediction("flow", lambda process, t: process.derivatives(t)),
        Prediction("minus_flow", _minus_flow),
        edm(),
    )
}
PREDICTIONS = tuple(_KNOWN)


def require_prediction(prediction: Predicted) -> Prediction:
    """The prediction of this name, or the one given.

    Raises:
        ConfigurationError: unknown prediction type.
    """
    if isinstance(prediction, Prediction):
        return prediction
    if prediction not in _KNOWN:
        raise ConfigurationError(
            f"model.prediction = '{prediction}' is not a prediction type." + did_you_mean(prediction, PREDICTIONS)
        )
    return _KNOWN[prediction]


class Conversion(NamedTuple):
    """x0_hat = x0_x * x_t + x0_f * f and eps_hat = eps_x * x_t + eps_f * f."""

    x0_x: Tensor
    x0_f: Tensor
    eps_x: Tensor
    eps_f: Tensor


def target_coefficients(prediction: Predicted, process: Process, t: Time) -> tuple[Tensor, Tensor]:
    """(p, q) with f = p x_0 + q eps: what the network is trained to predict at time t.

    Raises:
        ConfigurationError: unknown prediction type.
    """
    return require_prediction(prediction).coefficients(process, t)


def conversion(prediction: Predicted, process: Process, t: Time) -> Conversion:
    """Coefficients from (x_t, f) to (x0_hat, eps_hat), float64, in the shape of t.

    Solves the 2x2 system x_t = alpha x_0 + sigma eps, f = p x_0 + q eps. Where f says nothing of x_0 (`epsilon` at
    alpha = 0) or of eps (`sample` at sigma = 0), the coefficients of that one are infinite. Where f itself is infinite
    (`flow` at t = 0 of a variance-preserving path), they are the limits.
    """
    alpha, sigma = process.alpha(t), process.sigma(t)
    p, q = target_coefficients(prediction, process, t)
    if not p.any():  # of the noise alone
        return Conversion(1 / alpha, -sigma / (alpha * q), torch.zeros_like(q), 1 / q)
    if not q.any():  # of the data alone
        return Conversion(torch.zeros_like(p), 1 / p, 1 / sigma, -alpha / (sigma * p))
    determinant = alpha * q - sigma * p
    # q / determinant, written so that q may be 0 or infinite.
    x0_x = 1 / (alpha - sigma * (p / q))
    return Conversion(x0_x, -sigma / determinant, -p / determinant, alpha / determinant)


def target(prediction: Predicted, process: Process, x0: Tensor, noise: Tensor, t_B: Tensor) -> Tensor:
    """The regression target (B, ...) for data x0, noise eps and times t (B,)."""
    p, q = (
        coefficient.to(x0.dtype).reshape(-1, *[1] * (x0.ndim - 1))
        for coefficient in target_coefficients(prediction, process, float64(t_B))
    )
    return p * x0 + q * noise


def between(given: Predicted, wanted: Predicted, process: Process, t: Time) -> tuple[Tensor, Tensor]:
    """(u, w) with f_wanted = u x_t + w f_given, float64, in the shape of t."""
    p, q = target_coefficients(wanted, process, t)
    known = conversion(given, process, t)
    return p * known.x0_x + q * known.eps_x, p * known.x0_f + q * known.eps_f
