"""Evaluations of propagators and applications that the small network stands in for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from genuq.applications import APPLICATIONS, Sampling
from genuq.models import sample
from genuq.pipeline.counting import Count
from genuq.planning.counting import Applied, application_count, propagated_count
from genuq.planning.planned import PlannedRun
from support.small_runs import POINTS, composed


def planned(folder: Path, *overrides: str) -> PlannedRun:
    return PlannedRun(composed(*POINTS, f"store={folder}/store", *overrides), folder, "genuq")


def test_draws_of_coherent_propagation_cost_the_same_each(tmp_path: Path) -> None:
    counts = [
        propagated_count(planned(tmp_path, "propagator=coherent", f"propagator.draws={draws}")).of(10, batches=2)[0]
        for draws in (2, 4, 6)
    ]
    assert counts[2] - counts[1] == counts[1] - counts[0] > 0


def test_an_application_from_outside_says_what_it_makes_and_that_is_counted(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Two further trajectories for each sample, whatever is done with them."""

    def make(settings: object, known: Sampling, indices: list[int]) -> None:
        for _ in range(2):
            sample(known.model, known.sampler, indices)

    part = replace(APPLICATIONS.get("best_of_n"), name="twice_more", make_samples=make)
    APPLICATIONS.register(part)
    request.addfinalizer(lambda: APPLICATIONS.remove("twice_more"))
    run = planned(tmp_path, "application=best_of_n", "application.name=twice_more", "sampler=euler", "sampler.steps=5")
    assert application_count(run) == Applied(Count(forward=10.0), decoded=2.0)
    assert application_count(planned(tmp_path, "application=best_of_n")) == Applied()
