"""The settings of a training, apart from Lightning, so that the configuration knows them without loading it."""

from __future__ import annotations

from dataclasses import dataclass

from genuq.parts.bounds import Count, NonNegative, Positive, Probability, Rate, Seed, WholeNumber, check_fields


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

    steps: Count = 2400
    batch_size: Count = 128
    learning_rate: Positive = 1e-3
    warmup_steps: WholeNumber = 200
    weight_decay: NonNegative = 0.0
    ema_decay: Rate = 0.999
    class_dropout: Probability = 0.1
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self, "trainer")
