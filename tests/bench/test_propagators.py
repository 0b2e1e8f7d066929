"""The benchmark's records: the acceptance of the exact case, at few steps, and its table."""

from __future__ import annotations

import json

import pytest

from genuq.bench import propagators as benchmark
from genuq.cli import bench
from genuq.errors import ConfigurationError

KEYS = {
    "propagator",
    "solver",
    "steps",
    "skip",
    "sum_ratio",
    "image_rank_correlation",
    "negative_share",
    "evaluations_ratio",
    "seconds_ratio",
}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "records.json"
    bench.main(["propagators", "--quick", "--json", str(path)])
    return json.loads(path.read_text())


@pytest.mark.slow
def test_exact_propagators_meet_the_acceptance(records):
    exact = [r for r in records if r["propagator"] in ("corrected", "coherent, every direction") and r["sum_ratio"]]
    assert {record["solver"] for record in exact} == {setting.solver.name for setting in benchmark.SETTINGS}
    for record in exact:
        assert 0.97 < record["sum_ratio"] < 1.03, record
        assert record["image_rank_correlation"] > (0.99 if record["skip"] == 1 else 0.95), record
        assert record["negative_share"] == 0, record


@pytest.mark.slow
def test_the_papers_faults_are_there(records):
    once, skipped = (
        next(r for r in records if (r["propagator"], r["solver"], r["skip"]) == ("paper", "ddim", skip))
        for skip in (1, 5)
    )
    assert once["pixel_rank_correlation"] < 0.4
    assert once["negative_share"] > 0.05
    assert skipped["sum_ratio"] > 10 * once["sum_ratio"]


@pytest.mark.slow
def test_every_record_has_the_keys_and_a_row(records):
    assert all(record.keys() >= KEYS for record in records)
    costs = [record for record in records if record["case"].startswith("flow_matching")]
    assert [record["propagator"] for record in costs] == [label for label, _ in benchmark.COSTS]
    assert all(record["evaluations_ratio"] > 1 and record["seconds_ratio"] > 0 for record in costs)
    rows = [line for line in benchmark.table(records).splitlines() if line.startswith("| ")]
    headings = {benchmark._heading(record) for record in records}
    assert len(rows) == len(records) + len(headings)


@pytest.mark.slow
def test_trajectory_costs_a_few_evaluations_of_one_sample_and_corrected_less_than_twice(records):
    costs = {record["propagator"]: record for record in records if record["case"].startswith("flow_matching")}
    assert costs["trajectory"]["evaluations_ratio"] < 1.15
    assert costs["corrected"]["evaluations_ratio"] < 2


def test_steps_that_are_no_numbers_are_refused():
    with pytest.raises(ConfigurationError, match="--steps ten: give numbers"):
        benchmark.run(bench.parser().parse_args(["propagators", "--steps", "ten"]))
