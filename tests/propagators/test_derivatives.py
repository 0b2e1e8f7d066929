"""Derivatives in one direction against the Jacobian that autograd writes down."""

from __future__ import annotations

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.propagators.derivatives import METHODS, along, difference_step

TOLERANCE = {"difference": 1e-5, "forward": 1e-12}


def function(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x.flip(1)) * x.sum(1, keepdim=True) + x.square()


@pytest.mark.parametrize("method", METHODS)
def test_each_row_is_its_own_jacobian_times_its_direction(method):
    torch.manual_seed(0)
    x, u = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    found = along(function, x, function(x), u, method)
    for row, direction, value in zip(x, u, found):
        jacobian = torch.autograd.functional.jacobian(lambda z: function(z[None])[0], row)
        torch.testing.assert_close(value, jacobian @ direction, rtol=TOLERANCE[method], atol=TOLERANCE[method])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_function_in_half_precision_takes_a_step_that_it_can_tell(dtype):
    """Of states in float32, which it rounds: a step by their precision would vanish in it."""
    torch.manual_seed(0)
    x, u = torch.randn(4, 64), torch.randn(4, 64)
    whole = torch.randn(64, 64) / 8

    def halved(z: torch.Tensor) -> torch.Tensor:
        return (z.to(dtype) @ whole.to(dtype)).float()

    found = along(halved, x, halved(x), u, precision=dtype)
    assert float((found - u @ whole).norm() / (u @ whole).norm()) < 0.1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("length", [1e-6, 1e6])
def test_it_is_linear_in_the_length_of_the_direction(method, length):
    torch.manual_seed(0)
    x, u = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    one, other = (along(function, x, function(x), size * u, method) for size in (1.0, length))
    torch.testing.assert_close(other / length, one, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_no_direction_has_no_derivative(method):
    x = torch.ones(2, 3)
    u = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    found = along(function, x, function(x), u, method)
    assert found.dtype == torch.float64 and not found[0].any() and found[1].any()


def test_a_constant_function_has_the_derivative_zero():
    x = torch.ones(2, 3)
    assert not along(lambda z: torch.ones(2, 3), x, torch.ones(2, 3), x, "forward").any()


def test_an_operation_without_a_forward_derivative_names_the_other_way():
    class Rounded(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.round()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    x = torch.ones(2, 3)
    with pytest.raises(ConfigurationError, match=r"Choose propagator\.derivative=difference"):
        along(Rounded.apply, x, x, x, "forward")


def test_the_step_moves_the_weights_by_the_root_of_float32s_precision():
    values, deviations = [torch.full((5,), 2.0)], [torch.full((5,), 0.1)]
    assert difference_step(values, deviations) * 0.1 / 2.0 == pytest.approx(2.0**-11.5)
    assert difference_step(values, [torch.zeros(5)]) == 1.0
