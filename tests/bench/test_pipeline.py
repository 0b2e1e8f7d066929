"""The parts of the benchmark of whole jobs: each composes what other benchmarks measure into rows with targets."""

from __future__ import annotations

from pathlib import Path

import pytest

from genuq import files
from genuq.bench import evaluation, pipeline
from genuq.bench.cases import Case
from genuq.bench.metric_peers import FID, MANIFOLD
from genuq.bench.rows import Row
from genuq.cli import bench
from genuq.errors import ConfigurationError, GenuqError

TINY = Case("tiny", (8, 16), 8, 2, whole_network=True)


def arguments(*words: str):
    return bench.parser().parse_args(["pipeline", *words])


def measured(cases, rounds):
    """Records as the benchmark of evaluations leaves them; every other side takes twice as long and as much."""
    return [
        {"what": case.what, "side": case.side, "seconds": 1.0, "cpu_seconds": times, "peak_bytes": int(times * 100)}
        | {"evaluations": None, "values": {}, "ratio": times, "peak_ratio": times}
        for case, times in zip(cases, [1.0, *[2.0] * len(cases)])
    ]


def test_a_run_leaves_records_a_table_and_those_of_earlier(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(pipeline, "QUICK", {"tiny": TINY})
    files.write_json(tmp_path / "before.json", [Row("measured before").record])
    words = ["pipeline", "--quick", "--parts", "fits", "--earlier", str(tmp_path / "before.json")]
    out, shown = tmp_path / "records.json", tmp_path / "table.md"
    assert bench.main([*words, "--json", str(out), "--markdown", str(shown)]) == 0
    first, *records = files.read_json(out)
    assert first["what"] == "measured before" and [record["target"] for record in records] == [1.08, 6.0, 3.5]
    assert all(record.keys() >= Row("").record.keys() | {"machine", "torch", "date"} for record in records)
    assert all(record["ratio"] > 0 and (record["met"] or record["reason"]) for record in records)
    assert shown.read_text().count("\n| ") == 2 + len(records)


def test_metrics_say_what_each_library_has_and_what_is_not_there(monkeypatch):
    monkeypatch.setattr(evaluation, "compared", measured)
    monkeypatch.setattr(pipeline.metric_peers, "missing", lambda name: "absent" if name == "clean-fid" else None)
    found = pipeline.metrics(arguments("--peers"))
    sides = {(row.what.split(",")[0], row.side): row for row in found}
    assert sides["FID", "torchmetrics"].ratio == 2.0 and sides["FID", "clean-fid"].reason == "absent"
    assert sides[FID, "prdc"].reason == "prdc has no FID of features that it is given"
    ours = sides[MANIFOLD.split(",")[0], "genuq"]
    assert (ours.ratio, ours.over, ours.met) == (0.5, "prdc", False)
    assert ours.values["memory of prdc's"] == 0.5 and "matrix products" in (ours.reason or "")
    assert {row.side for row in pipeline.metrics(arguments("--quick"))} == {"genuq"}


@pytest.mark.parametrize(("part", "target"), [(pipeline.growth, 6.0), (pipeline.features, 2.0)])
def test_large_evaluations_have_their_targets(part, target, monkeypatch):
    monkeypatch.setattr(evaluation, "compared", measured)
    assert part(arguments("--quick"))[1].target is None
    first, large = part(arguments())
    assert (first.ratio, large.ratio, large.target, large.met) == (None, 2.0, target, True)


def test_the_published_procedures_are_asked_for():
    assert {row.reason for row in pipeline.published(arguments("--quick"))} == {"not asked for: --peers"}


def test_all_parts_are_asked_in_their_order(monkeypatch):
    asked: list[str] = []
    for name in pipeline.PARTS:
        monkeypatch.setitem(pipeline.PARTS, name, lambda chosen, name=name: asked.append(name) or [Row(name)])
    found = pipeline.run(arguments("--quick"))
    assert asked == list(pipeline.PARTS) == [record["what"] for record in found]


def test_what_cannot_be_is_refused_before_anything_is_measured(tmp_path: Path):
    assert pipeline.run(arguments("--parts", "")) == []
    with pytest.raises(ConfigurationError, match=r"--parts score: there is no such part.*scores"):
        pipeline.run(arguments("--parts", "score"))
    with pytest.raises(GenuqError, match=r"there is no such folder\. Make it first"):
        pipeline.run(arguments("--markdown", str(tmp_path / "absent" / "table.md")))
    with pytest.raises(ConfigurationError, match="--baseline nowhere cannot be run"):
        pipeline.run(arguments("--baseline", "nowhere"))
