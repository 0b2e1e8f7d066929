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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "wandbb"}, r"logger\.name = 'wandbb' is no logger\..*Did you mean 'wandb'"),
        ({"mode": "sometimes"}, r"logger\.mode = 'sometimes'; choose offline or online"),
        ({"samples": 1}, r"logger\.samples = 1; .*at least 2"),
    ],
)
def test_what_no_logger_can_do_is_named(changes: dict[str, Any], said: str) -> None:
    check_logger(run())
    with pytest.raises(ConfigurationError, match=said):
        check_logger(run(**changes))


def test_nobody_looks_on() -> None:
    nobody: Any = NoTracker()
    assert nobody.training_logger(None, "train", "model", None) is False
    assert nobody.observe(None, "train", None, None) is None
