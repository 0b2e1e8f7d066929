"""What a plan gives many workers to do: pieces of each artefact."""

from __future__ import annotations

from pathlib import Path

import pytest

from genuq.config import schemas
from genuq.planning.phases import phases_of
from genuq.planning.plan import plan_of
from genuq.planning.simulation import Phase
from support.small_runs import POINTS


def test_shards_are_shared_and_fits_summed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schemas.register()
    monkeypatch.chdir(tmp_path)
    plan = plan_of([*POINTS, f"store={tmp_path}/store", "trainer.checkpoint_every=2"], False)
    assert not plan.jobs[0].error
    plan.estimate(calibrate=False)
    phases = {phase.name: phase for phase in phases_of(plan)}
    assert {name for name, phase in phases.items() if phase.shared} == {"sample", "embed"}
    assert {name for name, phase in phases.items() if phase.summed} == {"train", "posterior.draws", "fit", "evaluate"}
    assert phases["sample"].pieces == 3 and phases["train"].pieces == 3 and phases["score"].pieces == 1
    assert phases["evaluate"] == Phase("evaluate", phases["evaluate"].seconds, summed=True)
