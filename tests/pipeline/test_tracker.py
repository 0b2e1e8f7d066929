"""Loggers that there are, and what nobody's looking on answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from genuq.errors import ConfigurationError
from genuq.pipeline.run import NoTracker
from genuq.pipeline.tracker import check_logger


def run(name: str = "wandb", mode: str = "offline", samples: int = 8) -> Any:
    logger = SimpleNamespace(name=name, mode=mode, samples=samples)
    return SimpleNamespace(config=SimpleNamespace(logger=logger))


def test_a_logger_that_is_none_is_named() -> None:
    check_logger(run())
    with pytest.raises(ConfigurationError, match=r"logger\.name = 'wandbb' is no logger\..*Did you mean 'wandb'"):
        check_logger(run(name="wandbb"))


def test_nobody_looks_on() -> None:
    nobody: Any = NoTracker()
    assert nobody.training_logger(None, "train", "model", None) is False
    assert nobody.observe(None, "train", None, None) is None
