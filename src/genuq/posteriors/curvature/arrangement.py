"""Where each output of the head stands in the prediction: behind the head come only rearrangements."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError

_LARGEST = 2**17  # number sent: a known factor that a `call` divides out again (EDM's c_out) rounds it by less than 1/2


class Arrangement:
    """Carries values in the layout of the head's output to the layout of the prediction.

    Found by sending numbers through what stands behind the head, in forward passes of one sample: zeros, one that
    counts (two and more where head or prediction are in half precision, which cannot count far) and one that checks
    with random numbers.

    Args:
        head: the layer.
        output: what it gives for one sample (its shape and precision matter).
        predict: a forward pass of one sample, (1, *shape).

    Attributes:
        passes: forward passes that it took.

    Raises:
        ConfigurationError: something other than a rearrangement stands behind the head.
    """

    def __init__(self, head: nn.Module, output: Tensor, predict: Callable[[], Tensor]) -> None:
        self._head, self._predict, self.passes = head, predict, 0
        count = output.numel()
        self._dtype = output.dtype
        self._constant = self._through(torch.zeros(count))
        base = min(int(1 / max(torch.finfo(dtype).eps for dtype in (output.dtype, self._dtype))), _LARGEST)
        position, unit = torch.zeros((), dtype=torch.long), 1
        while unit < count:
            position = position + unit * self._moved(torch.arange(count) // unit % base).round().long()
            unit *= base
        numbers = torch.randint(base, (count,), generator=torch.Generator().manual_seed(0))
        arrived = self._moved(numbers)
        once = len(position.unique()) == position.numel() and 0 <= int(position.min()) <= int(position.max()) < count
        if not once or not torch.equal(arrived.round(), numbers[position].double()):
            raise ConfigurationError(
                "what follows model.head is not a mere rearrangement of its outputs. Choose the last weighted layer as "
                "model.head."
            )
        self._position, self._shape = position.flatten(), position.shape[1:]

    def _moved(self, numbers: Tensor) -> Tensor:
        """What arrives of these numbers beyond what arrives of none: constants may be added behind the head."""
        return self._through(numbers) - self._constant

    def _through(self, numbers: Tensor) -> Tensor:
        """What arrives in the prediction if the head's outputs are these numbers, float64."""

        def replaced(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return numbers.to(output).reshape(output.shape)

        handle = self._head.register_forward_hook(replaced)
        try:
            arrived = self._predict()
        finally:
            handle.remove()
        self.passes += 1
        self._dtype = arrived.dtype
        return arrived.detach().double().cpu()

    def __call__(self, values: Tensor) -> Tensor:
        """(B, *head output) to (B, *prediction)."""
        position = self._position.to(values.device)
        return values.flatten(1)[:, position].reshape(len(values), *self._shape)
