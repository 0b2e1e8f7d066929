"""What was opened once is opened for all; what failed is tried again, unless a plan looks on."""

from __future__ import annotations

import pytest

from genuq.errors import ConfigurationError
from genuq.pipeline.memory import Memory


def test_what_has_the_same_key_is_built_once() -> None:
    memory, built = Memory(), []
    for key in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2}):
        memory(key, lambda key=key: built.append(key) or key)
    assert built == [{"a": 1, "b": 2}, {"a": 2}]


@pytest.mark.parametrize(("keeps", "tries"), [(False, 2), (True, 1)])
def test_what_failed_fails_again_for_a_plan_alone(keeps: bool, tries: int) -> None:
    memory, tried = Memory(keeps_errors=keeps), []

    def fail() -> None:
        tried.append(1)
        raise ConfigurationError("no such file")

    for _ in range(2):
        with pytest.raises(ConfigurationError, match="no such file"):
            memory("key", fail)
    assert len(tried) == tries
