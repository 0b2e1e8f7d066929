"""The path of EDM's networks: sigma between its ends, what the network is told and shown."""

from __future__ import annotations

import math

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.processes import Exploding, between, edm, target

PATH = Exploding()
T = torch.linspace(0, 1, 21, dtype=torch.float64)


def test_sigma_lies_between_its_ends_and_the_data_keep_their_scale() -> None:
    assert float(PATH.sigma(0.0)) == pytest.approx(0.002) and float(PATH.sigma(1.0)) == pytest.approx(80)
    assert torch.equal(PATH.alpha(T), torch.ones(21, dtype=torch.float64)) and bool((PATH.sigma(T).diff() > 0).all())


def test_derivatives_are_autograds() -> None:
    t = T.clone().requires_grad_()
    (slope,) = torch.autograd.grad(PATH.sigma(t).sum(), t)
    torch.testing.assert_close(PATH.derivatives(T)[1], slope)
    assert not PATH.derivatives(T)[0].any()


def test_times_are_found_again() -> None:
    torch.testing.assert_close(PATH.time_at(PATH.half_log_snr(T)), T)
    torch.testing.assert_close(PATH.time_of(PATH.network_time(T)), T, rtol=0, atol=1e-6)
    assert float(PATH.time_at(math.inf)) == 0.0, "no noise at all: where sampling ends"


def test_the_network_is_told_a_quarter_of_the_logarithm_in_float32() -> None:
    told = PATH.network_time(T.float())
    assert told.dtype == torch.float32
    torch.testing.assert_close(told.double(), PATH.sigma(T).log() / 4, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("data", [0.5, 1.0])
def test_what_is_shown_has_variance_one_and_f_is_the_papers(data: float) -> None:
    """F = (D - c_skip x) / c_out for the denoiser D = x_0."""
    path, source = Exploding(sigma_data=data), torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(21, 3, generator=source, dtype=torch.float64) for _ in range(2))
    sigma = path.sigma(T)[:, None]
    x = path.interpolate(x0, noise, T)
    norm = (sigma.square() + data**2).sqrt()
    torch.testing.assert_close(path.shown(x, path.network_time(T)), x / norm, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        target(edm(data), path, x0, noise, T), (x0 - (data / norm) ** 2 * x) / (sigma * data / norm)
    )


def test_its_f_is_minus_that_of_the_other_sign() -> None:
    on_x, on_f = between(edm(0.5, "minus", -1.0), "edm", PATH, T[1:])
    torch.testing.assert_close(on_x, torch.zeros_like(on_x), rtol=0, atol=1e-9)
    torch.testing.assert_close(on_f, -torch.ones_like(on_f))


@pytest.mark.parametrize("options", [{"sigma_min": 0.0}, {"sigma_max": 0.001}, {"sigma_data": 0.0}])
def test_ends_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="give 0 < sigma_min < sigma_max"):
        Exploding(**options)
