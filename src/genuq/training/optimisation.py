"""The settings of a training, apart from Lightning, so that the configuration knows them without loading it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Optimisation:
    """AdamW with linear warm-up and cosine decay to zero.

    Attributes:
        steps: optimiser steps.
        batch_size: images a step, of all processes together.
        learning_rate: at the end of the warm-up.
        warmup_steps: of linear increase.
        weight_decay: decoupled.
        ema_decay: of the averaged weights, approached as (1 + step) / (10 + step).
        class_dropout: share of images whose class is hidden, for classifier-free guidance.
        seed: keys initial weights, order, noise.
    """

    steps: int = 2400
    batch_size: int = 128
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    weight_decay: float = 0.0
    ema_decay: float = 0.999
    class_dropout: float = 0.1
    seed: int = 0
