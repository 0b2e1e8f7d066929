"""Who looks at a run's samples is what its configuration says of them."""

from __future__ import annotations

from pathlib import Path

from genuq.pipeline.configured_judging import judge_inputs, likelihood_inputs
from genuq.pipeline.run import Run
from support.small_runs import POINTS, composed


def test_points_are_judged_and_compared_as_points(tmp_path: Path) -> None:
    made = Run(composed(*POINTS, f"store={tmp_path}/store"), tmp_path, "genuq")
    assert judge_inputs(made).points is not None and judge_inputs(made).extractor is None
    assert likelihood_inputs(made).extractor is None and likelihood_inputs(made).build().name == "points"
