"""The derivative of a network in one direction: forward-mode differentiation, or a difference quotient."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from genuq.errors import ConfigurationError

Derivative = Literal["difference", "forward"]  # ways to have it
METHODS: dict[Derivative, int] = {
    "difference": 1,
    "forward": 2,
}  # forward passes that a derivative costs, beyond the one at x
_STEP = 1.0  # of the difference, times the root of the precision, in units of the size of the state


def along(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    value: Tensor,
    direction: Tensor,
    method: Derivative = "difference",
    precision: torch.dtype | None = None,
) -> Tensor:
    """J u (B, ...), float64: the derivative of a function of batches, row by row, in the direction u.

    Args:
        value: function(x), which is known already.
        direction: u, of the shape of x.
        method: `difference`: (function(x + h u) - function(x)) / h with h u of a few ten-thousandths of x, one pass;
            of a tenth of x, and as rough, for a network in bfloat16;
            `forward`: forward-mode differentiation, exact; about two passes' arithmetic, and three in time.
        precision: that the function computes in; None: that of x.

    Raises:
        ConfigurationError: an operation of the network has no forward-mode derivative.
    """
    if method == "difference":
        return _difference(function, x, value, direction, precision or x.dtype)
    return forward_mode(lambda: function(forward_ad.make_dual(x, direction.to(x))), like=value)


def _difference(
    function: Callable[[Tensor], Tensor], x: Tensor, value: Tensor, direction: Tensor, precision: torch.dtype
) -> Tensor:
    axes = tuple(range(1, x.ndim))
    length, size = (tensor.double().square().mean(axes, keepdim=True).sqrt() for tensor in (direction, x))
    wanted = _STEP * torch.finfo(precision).eps ** 0.5 * size.clamp(min=1e-3)
    step = torch.where(length > 0, wanted / length, torch.zeros_like(length))
    moved = function((x.double() + step * direction.double()).to(x.dtype))
    change = moved.double() - value.double()
    return torch.where(step > 0, change / step.clamp(min=torch.finfo(torch.float64).tiny), torch.zeros_like(change))


def difference_step(
    values: Iterable[Tensor], deviations: Iterable[Tensor], precision: torch.dtype = torch.float32
) -> float:
    """h for which h times the deviations is a few ten-thousandths of the values (float32)."""
    flat = [torch.cat([tensor.double().flatten() for tensor in tensors]) for tensors in (values, deviations)]
    size, length = (float(tensor.square().mean().sqrt()) for tensor in flat)
    return _STEP * torch.finfo(precision).eps ** 0.5 * size / length if length > 0 else 1.0


def forward_mode(evaluate: Callable[[], Tensor], like: Tensor) -> Tensor:
    """The tangent (float64) of what `evaluate` makes from dual tensors; zeros of the shape of `like` where it has none.

    Fused attention has no forward-mode derivative; the plain arithmetic is used.

    Raises:
        ConfigurationError: an operation of the network has no forward-mode derivative.
    """
    try:
        with sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(evaluate()).tangent
    except NotImplementedError as error:
        raise ConfigurationError(
            f"propagator.derivative = 'forward': {str(error).splitlines()[0]} Choose propagator.derivative=difference."
        ) from error
    return torch.zeros_like(like, dtype=torch.float64) if tangent is None else tangent.double()
