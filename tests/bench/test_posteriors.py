"""Records and tables of the benchmark on a tiny head; what is measured is not asserted, only that it is."""

import argparse
import json

import pytest
import torch

from genuq import files
from genuq.bench import posteriors as benchmark
from genuq.bench.cases import CASES, Case
from genuq.cli import bench
from genuq.errors import ConfigurationError
from genuq.posteriors import POSTERIORS

TINY = Case("tiny", (8, 16), 8, 2, whole_network=True)
KEYS = {
    "posterior",
    "head",
    "fit_over_forward",
    "fit_peak_bytes",
    "draw_seconds",
    "variance_over_head_forward",
    "peer",
}


def arguments(*words):
    return bench.parser().parse_args(["posteriors", *words])


@pytest.fixture(scope="module")
def records():
    return benchmark.ours(TINY, list(POSTERIORS), rounds=1)


def test_every_kind_of_posterior_has_a_record(records):
    assert {record["posterior"].split(",")[0] for record in records} == set(POSTERIORS)
    assert all(record.keys() >= KEYS and record["peer"] is None for record in records)


def test_what_cannot_be_measured_is_null_and_says_why(records):
    for record in records:
        kind = POSTERIORS[record["posterior"].split(",")[0]]
        fitted = kind.source == "images"
        for key in ("fit_over_forward", "fit_peak_bytes"):
            assert (record[key] is not None) == fitted, record
        assert record["variance_over_head_forward"] is not None or record["note"], record
        assert fitted or record["note"], record
        assert record["draw_seconds"] >= 0


def test_the_fit_of_the_exact_posterior_counts_at_least_its_matrix(records):
    exact = next(record for record in records if record["posterior"] == "exact_laplace")
    assert exact["matrix_bytes"] == 8 * 73**2 <= exact["fit_peak_bytes"]
    assert exact["variance_over_head_forward"] > 0 and exact["fit_seconds"] > 0


def test_the_records_are_json_and_the_table_has_a_row_for_each(records, tmp_path):
    files.write_json(tmp_path / "records.json", records)
    assert json.loads((tmp_path / "records.json").read_text()) == records
    lines = benchmark.table(records).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + len(records) and TINY.head in lines[0]
    assert len({row.count("|") for row in rows}) == 1


def test_peers_stand_beside_what_answers_to_them(records):
    ours = next(record for record in records if record["posterior"] == "exact_laplace")
    peer = {**ours, "posterior": "full", "peer": "another", "nearest": "exact_laplace", "error": 2.5}
    peer |= {"fit_seconds": 40 * ours["fit_seconds"], "fit_peak_bytes": 30 * ours["fit_peak_bytes"]}
    failed = {**peer, "fit_seconds": None, "needed_bytes": 2**30, "note": "not done"}
    rows = benchmark.table([*records, peer, failed]).splitlines()[-2:]
    assert "40, 30 (exact_laplace)" in rows[0] and "off by 2.5" in rows[0]
    assert "holds a Jacobian of 1.00 GiB; not done" in rows[1]


def test_a_run_of_chosen_posteriors_on_chosen_heads(monkeypatch):
    monkeypatch.setitem(CASES, "tiny", TINY)
    found = benchmark.run(arguments("--heads", "tiny", "--posteriors", "exact_laplace,map", "--rounds", "1"))
    assert [record["posterior"] for record in found] == ["exact_laplace", "map"]
    assert all(record["torch"] == torch.__version__ and record["machine"] for record in found)


@pytest.mark.parametrize(
    ("words", "said"), [(["--heads", "49"], "--heads 49"), (["--posteriors", "exact_laplce"], "exact_laplace")]
)
def test_unknown_names_are_refused_before_the_work(words, said):
    with pytest.raises(ConfigurationError, match=said):
        benchmark.run(arguments(*words))


def test_large_heads_leave_out_what_would_take_minutes():
    model = TINY.model()
    labels = dict(benchmark._variants(Case("tiny", (8, 16), 8, 2), model, ["kfac", "subnetwork_laplace", "map"]))
    assert list(labels) == ["kfac, head", "map"]


def test_the_cases_are_the_heads_they_say():
    for case in CASES.values():
        assert case.inputs == 9 * case.channels[0] + 1 and f"{case.channels[0]} channels" in case.head
    features, model = TINY.features(), TINY.model()
    assert model.head(features).shape == TINY.batch().x.shape
    assert all(bool(value.any()) for name, value in model.named_parameters() if value.ndim > 1)
    assert isinstance(arguments("--quick"), argparse.Namespace)
