"""What a person reads on the terminal: durations, sizes, errors."""

from __future__ import annotations

import pytest

from genuq.cli.console import complain, in_units, rounded_duration
from genuq.errors import ConfigurationError


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.25, "0.2 s"), (42.4, "42 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")]
)
def test_durations(seconds: float, said: str) -> None:
    assert rounded_duration(seconds) == said


@pytest.mark.parametrize(
    ("size", "said"), [(1023, "1023 B"), (1024, "1.0 KiB"), (1.5 * 2**20, "1.5 MiB"), (2**41, "2048.0 GiB")]
)
def test_sizes(size: float, said: str) -> None:
    assert in_units(size) == said


def test_an_error_is_a_line_and_its_traceback_is_for_who_asks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def complained() -> str:
        try:
            raise ConfigurationError("a.b = 3; choose [1] or [2]")
        except ConfigurationError as error:
            complain(error)
        return capsys.readouterr().err

    monkeypatch.delenv("GENUQ_TRACEBACK", raising=False)
    assert complained() == "error: a.b = 3; choose [1] or [2]\n"
    monkeypatch.setenv("GENUQ_TRACEBACK", "1")
    assert "Traceback" in complained()
