"""Runs that are only looked at: what they read is read once, and nobody can change it for the others."""

from __future__ import annotations

from pathlib import Path

from genuq.planning.planned import PlannedRun
from support.small_runs import POINTS, composed


def planned(folder: Path, *overrides: str) -> PlannedRun:
    return PlannedRun(composed(*POINTS, f"store={folder}/store", *overrides), folder, "genuq")


def test_a_part_of_the_configuration_is_a_copy_of_ones_own(tmp_path: Path) -> None:
    run = planned(tmp_path)
    first = run.plain("sampler")
    first["sampler"]["steps"] = -1
    assert run.plain("sampler")["sampler"]["steps"] == 3
    assert set(run.plain()) == set(run.config) and not run.keeps_contents


def test_runs_are_alike_in_time_where_network_and_processes_are(tmp_path: Path) -> None:
    one = planned(tmp_path).network_like()
    assert one == planned(tmp_path, "seed=9", "posterior=kfac", "sampler.steps=7").network_like()
    for other in ("network.width=24", "trainer.devices=2", "sampler.precision=bfloat16", "sampler.compile=true"):
        assert planned(tmp_path, other).network_like() != one


def test_processes_are_those_of_all_machines(tmp_path: Path) -> None:
    run = planned(tmp_path, "trainer.devices=3", "trainer.num_nodes=2")
    assert run.processes == 6 and run.hardware() == "6 x cpu"
