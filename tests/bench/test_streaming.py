"""The benchmark of what stages hold: a process a stage, and peaks over that of the fewest samples."""

from __future__ import annotations

import pytest

from genuq.bench import streaming
from genuq.errors import GenuqError


def test_each_stage_has_a_row_for_each_number_of_samples() -> None:
    small, large = streaming.rows((8, 24), ("fit",))
    assert small.what.startswith("stage fit of 8 points") and small.ratio is None and small.peak_bytes
    assert large.over == "peak of the fewest" and large.ratio == pytest.approx(large.peak_bytes / small.peak_bytes)
    assert small.cpu_seconds and small.seconds


def test_a_stage_that_fails_is_named() -> None:
    with pytest.raises(GenuqError, match=r"stage evaluate of 8 points ended with"):
        streaming.rows((8,), ("evaluate",))
