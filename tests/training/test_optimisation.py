"""A training whose settings cannot be is refused where they are made, by a program as by a configuration."""

from __future__ import annotations

from typing import Any

import pytest

from genuq.errors import ConfigurationError
from genuq.training.optimisation import Optimisation

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("steps", [0, -1, 2.5, NAN]),
        ("batch_size", [0, -1]),
        ("learning_rate", [0.0, -1.0, NAN, INFINITY]),
        ("warmup_steps", [-1]),
        ("weight_decay", [-1.0, NAN, INFINITY]),
        ("ema_decay", [-1.0, 1.0, 1.5, NAN]),
        ("class_dropout", [-1.0, 1.5, 2, NAN]),
        ("seed", [-1, 2**32]),
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, wrong: list[Any]) -> None:
    for value in wrong:
        with pytest.raises(ConfigurationError, match=rf"^trainer\.{name} = {value}; "):
            Optimisation(**{name: value})


def test_the_ends_of_what_can_be_pass() -> None:
    Optimisation(warmup_steps=0, weight_decay=0.0, ema_decay=0.0, class_dropout=1.0, seed=2**32 - 1)
