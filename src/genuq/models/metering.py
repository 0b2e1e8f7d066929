"""The cost of a method, counted while it runs: evaluations of the network, the unit that no machine changes."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor

from genuq.models.generative import GenerativeModel


class Meter:
    """Evaluations of a network by what they were made for.

    One evaluation is one row through the network: guidance takes two. A pass backwards to the network's input counts
    as one more, since it multiplies the same matrices; so a vector-Jacobian product with its forward pass costs two.

    Attributes:
        evaluations: by purpose.
        seconds: that were charged, by purpose.
    """

    def __init__(self, purpose: str = "sampling") -> None:
        self.evaluations: Counter[str] = Counter()
        self.seconds: dict[str, float] = {}
        self._purpose = purpose

    @contextlib.contextmanager
    def charging(self, purpose: str) -> Iterator[None]:
        """Charge what happens inside to `purpose`."""
        before, self._purpose, started = self._purpose, purpose, time.perf_counter()
        try:
            yield
        finally:
            self._purpose = before
            self.seconds[purpose] = self.seconds.get(purpose, 0.0) + time.perf_counter() - started

    def count(self, rows: int) -> None:
        self.evaluations[self._purpose] += rows

    def per_sample(self, samples: int) -> dict[str, float]:
        """Evaluations of one of `samples` samples, by purpose."""
        return {purpose: rows / samples for purpose, rows in self.evaluations.items()}


@contextlib.contextmanager
def metered(model: GenerativeModel) -> Iterator[Meter]:
    """Count the evaluations of the model's network inside, and of the one that guides it; no result changes."""
    meter = Meter()

    def count(module: torch.nn.Module, inputs: tuple[Tensor, ...], prediction: Tensor) -> None:
        meter.count(len(inputs[0]))
        if prediction.requires_grad:
            prediction.register_hook(lambda gradient: meter.count(len(gradient)))

    counted = [model] if model.guide is None else [model, model.guide]
    handles = [each.register_forward_hook(count) for each in counted]
    try:
        yield meter
    finally:
        for handle in handles:
            handle.remove()
