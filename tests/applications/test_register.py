"""The register of applications: settings by their own rules, and results of the promised form."""

from __future__ import annotations

from typing import Any

import pytest

from genuq.applications.register import APPLICATIONS, ApplicationPart
from genuq.errors import ConfigurationError


def counting(finished: Any, settings: Any) -> Any:
    return finished(settings)


def part() -> ApplicationPart:
    return ApplicationPart(
        name="counting", target=counting, label="Counting", control="none", settings=APPLICATIONS.get("filter").settings
    )


def test_settings_are_made_by_their_dataclass() -> None:
    how = APPLICATIONS.get("filter").settings_of({"fraction": 0.25})
    assert how.fraction == 0.25
    with pytest.raises(ConfigurationError, match="Did you mean 'fraction'"):
        APPLICATIONS.get("filter").settings_of({"fractoin": 0.25})


def test_a_runner_returns_an_outcome_with_examples() -> None:
    whole = ("an outcome", {"index": [1]})
    assert part().run(lambda settings: whole, None) == whole  # type: ignore[arg-type, return-value]
    for broken in (None, ("an outcome", {}), "outcome"):
        with pytest.raises(ConfigurationError, match="must return an Outcome and a dictionary of examples"):
            part().run(lambda settings, broken=broken: broken, None)  # type: ignore[arg-type, misc]
