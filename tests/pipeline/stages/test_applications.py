"""What applications share: their settings by name, and samples in batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from genuq.errors import ConfigurationError
from genuq.pipeline.run import Run
from genuq.pipeline.stages.applications import application_settings, batches
from support.small_runs import POINTS, composed


def test_batches_are_the_samples_in_order_and_a_rest() -> None:
    assert list(batches([5, 3, 9, 1, 7], 2)) == [(0, [5, 3]), (2, [9, 1]), (4, [7])]
    assert list(batches([], 2)) == []


def test_settings_are_those_of_the_configured_application(tmp_path: Path) -> None:
    run = Run(composed(*POINTS, "application=filter", "application.fraction=0.25"), tmp_path, "genuq")
    assert application_settings(run).fraction == 0.25
    broken = Run(composed(*POINTS, "application=filter", "application.fraction=1.5"), tmp_path, "genuq")
    with pytest.raises(ConfigurationError, match=r"fraction = 1\.5; it must lie in"):
        application_settings(broken)
