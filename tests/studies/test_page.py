"""The command `genuq study`: it finds what differs between runs, reads what the store holds, and writes one page."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from genuq import files
from genuq.analysis.evaluation_entries import JudgeEntry, SampleTable, Summary, SummaryRow
from genuq.analysis.results import RunResults
from genuq.cli import run as run_command
from genuq.cli.study import main
from genuq.config.job import Job
from genuq.errors import ArtefactError, ConfigurationError
from genuq.models import to_bytes
from genuq.pipeline.stages.sample import read_samples
from genuq.report.study.page import render
from genuq.store.records import RunRecord, read_records, write_record
from genuq.studies import page as study
from genuq.studies.declaration import read_study
from genuq.studies.page import build_study, evenly_by_realism, keys_of, shown_with_samples
from support.small_runs import IMAGES, POINTS, composed, run_of

SWEPT = (
    ("posterior=exact_laplace", "seed=3"),
    ("posterior=diagonal_laplace", "seed=3"),
    ("posterior=exact_laplace", "seed=4"),
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three of the four runs of a sweep on the mixture."""
    folder = tmp_path_factory.mktemp("sweep")
    for overrides in SWEPT:
        pairs = dict(text.split("=") for text in overrides)
        job = Job(
            name=",".join(overrides), overrides=("study=mix", *overrides), choices={"posterior": pairs["posterior"]}
        )
        config = composed(f"store={folder}/store", *POINTS, "study=mix", *overrides)
        run_command.run_job(
            config, folder / job.name, "genuq -m posterior=exact_laplace,diagonal_laplace seed=3,4", job
        )
    return folder / "store"


@pytest.fixture
def store(sweep: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sweep, tmp_path / "store", symlinks=True))


def record(name: str, overrides: tuple[str, ...] = (), config: dict | None = None, **choices: str) -> RunRecord:
    judge = JudgeEntry("classifier", 64, 5, 512, 512, None, None, True, [])
    results = RunResults(Summary("-", None, None, None, []), judge, {})
    unique = f"{abs(hash((name, overrides))):016x}"[-16:]
    return RunRecord("s", name, unique, "genuq", overrides, choices, config or {}, {}, {}, results)


def test_the_page_has_every_run_with_its_choices_numbers_and_curves(sweep: Path):
    made = build_study(sweep, "mix")
    assert made.keys == ["posterior"] and made.unevaluated == []
    assert [(run.values, run.seed) for run in made.runs] == [
        (["diagonal_laplace"], 3),
        (["exact_laplace"], 3),
        (["exact_laplace"], 4),
    ]
    assert made.absent == ["posterior = diagonal_laplace, seed = 4"]
    assert made.commands == ["genuq -m posterior=exact_laplace,diagonal_laplace seed=3,4"]
    for run, kept in zip(made.runs, read_records(sweep, "mix")):
        evaluation = files.read_json(sweep / kept.artefacts["evaluate"] / "evaluation.json")
        assert files.plain(run.summary) == evaluation["summary"] and run.score == "entropy"
        curves = {score["name"]: score["curves"] for score in evaluation["scores"]}
        assert files.plain(run.curves) == curves and list(run.curves) == list(curves)
        assert run.evaluations["entropy"] == evaluation["scores"][0]["evaluations_per_sample"]
        assert run.seconds == pytest.approx(sum(kept.seconds.values()))
        assert run.samples.rows == evaluation["samples"]["rows"]
        images = files.read_tensors(next((sweep / kept.artefacts["sample"]).glob("shard-0000000-*")))[0]["image"]
        np.testing.assert_array_equal(run.images[: len(images)], images)


def test_images_are_those_of_the_run_as_a_person_sees_them(images_run: Path, image_root: Path):
    run = run_of(images_run, *IMAGES, f"data.root={image_root}")
    (entry,) = build_study(run.store, run.study).runs
    np.testing.assert_array_equal(entry.images, to_bytes(read_samples(run.path("sample"))["image"]).numpy())
    assert entry.images.dtype == np.uint8 and entry.values == []


def test_at_most_so_many_samples_spread_over_realism(images_run: Path, image_root: Path, monkeypatch):
    run = run_of(images_run, *IMAGES, f"data.root={image_root}")
    monkeypatch.setattr(study, "SAMPLES", 5)
    made = build_study(run.store, run.study)
    (entry,) = made.runs
    assert (made.samples_shown, made.samples_total) == (5, 24)
    table = files.read_json(run.path("evaluate") / "evaluation.json")["samples"]
    realism = [row[table["columns"].index("realism")] for row in table["rows"]]
    ranking = np.argsort(realism, kind="stable")
    rows = sorted(ranking[[0, 6, 12, 17, 23]])
    assert entry.samples.rows == [table["rows"][row] for row in rows]
    np.testing.assert_array_equal(entry.images, to_bytes(read_samples(run.path("sample"))["image"]).numpy()[rows])
    assert "at most 5 samples" in " ".join(render(made).split())


def test_the_report_is_linked_from_where_the_page_lies(images_run: Path, tmp_path: Path, monkeypatch):
    (kept,) = read_records(images_run / "store")
    out = images_run / "pages #1" / "page.html"
    assert main([kept.study, "--store", str(images_run / "store"), "--out", str(out)]) == 0
    page = out.read_text()
    assert f'href="../store/{kept.artefacts["report"]}/index.html"' in page
    assert (out.parent / f"../store/{kept.artefacts['report']}/index.html").is_file()


DECLARED = """
title: Posteriors on the mixture
question: Which posterior knows?
command: genuq -m study=mix posterior=exact_laplace seed=3,4,5
rows: [posterior]
seeds: seed
measures: [entropy/auroc]
"""


def test_a_declared_study_asks_its_question_and_for_its_runs(sweep: Path, tmp_path: Path):
    (tmp_path / "study.yaml").write_text(DECLARED)
    made = build_study(sweep, "mix", declared=read_study(tmp_path))
    assert [run.seed for run in made.runs] == [3, 4] and made.keys == []
    assert made.asked == 3 and made.absent == ["genuq study=mix posterior=exact_laplace seed=5"]
    assert made.left_out == ["posterior=diagonal_laplace,seed=3"]
    assert main([str(tmp_path), "--store", str(sweep), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "Which posterior knows?" in page and "1 of the 3 runs that the study asks for is not there" in page


def test_an_unknown_study_is_named_with_those_there_are(sweep: Path):
    with pytest.raises(ConfigurationError, match=r"No run of study 'maxi' is in .*Did you mean 'mix'\? Known: mix"):
        build_study(sweep, "maxi")


def test_a_run_without_results_is_told_of(store: Path):
    kept = read_records(store, "mix")[0]
    write_record(store, dataclasses.replace(kept, results=None))
    made = build_study(store, "mix")
    assert made.unevaluated == [kept.name] and len(made.runs) == 2


def test_artefacts_that_were_pruned_leave_the_numbers(store: Path):
    first, second, _ = read_records(store, "mix")
    shutil.rmtree(store / first.artefacts["evaluate"])
    shutil.rmtree(store / second.artefacts["sample"])
    made = build_study(store, "mix")
    assert [run.missing for run in made.runs] == [["evaluate"], ["sample"], []]
    assert [bool(run.curves) for run in made.runs] == [False, True, True]
    assert [run.images is not None for run in made.runs] == [False, False, True]
    assert made.runs[0].summary.table == first.evaluated.summary.table
    assert render(made).count("<tr data-run=") == 3


def test_an_artefact_that_is_not_whole_is_named(store: Path):
    folder = store / read_records(store, "mix")[0].artefacts["evaluate"]
    for name in ("evaluation.json", "scores.json"):
        whole = (folder / name).read_text()
        (folder / name).write_text(whole[:100])
        with pytest.raises(ArtefactError, match=rf"{name} is not whole JSON"):
            build_study(store, "mix")
        (folder / name).write_text(whole)


def test_keys_are_the_groups_and_settings_that_differ_without_the_seed():
    records = [
        record(f"{m}{d}{s}", (f"model={m}", f"+posterior.draws={d}", f"seed={s}", "study=s", f"device={m}"),
               {"seed": s, "posterior": {"draws": d}, "model": {"name": m, "width": len(m)}}, model=m, data="x")
        for m in ("ddpm", "flow_matching") for d in (2, 10) for s in (0, 1)
    ]  # fmt: skip
    assert keys_of(records) == ["model", "posterior.draws"]
    assert study.value_of(records[-1], "posterior.draws") == "10"


def test_runs_that_typed_nothing_are_told_apart_by_their_configurations():
    configs = [{"seed": 0, "name": f"run{n}", "sampler": {"steps": n, "name": "ddim"}} for n in (5, 10)]
    assert keys_of([record(config["name"], (), config) for config in configs]) == ["sampler.steps"]


def test_what_only_one_run_has_typed():
    records = [record("a", ("+x.y=1",), {"seed": 0, "x": {"y": 1}}), record("b", (), {"seed": 0})]
    assert keys_of(records) == ["x.y"]
    assert [study.value_of(entry, "x.y") for entry in records] == ["1", "–"]


def test_gaps_in_a_grid_are_told_and_a_few_runs_of_many_are_no_grid():
    def run(one, two):
        return record(one + two, (f"one={one}", f"two={two}"), {"seed": 0, "one": one, "two": two})

    assert study.absent([run(*pair) for pair in ("xp", "xq", "yp")]) == ["one = y, two = q, seed = 0"]
    assert study.absent([run(str(n), str(n)) for n in range(5)]) == []
    assert study.absent([]) == []


def test_samples_are_chosen_evenly_by_their_realism():
    table = SampleTable(["index", "realism"], [[0, 0.5], [1, None], [2, 0.1], [3, 0.9]])
    assert evenly_by_realism(table, 2) == [1, 2]  # the least real, and the one without a value at the other end


def test_runs_with_samples_spread_over_the_ranking_by_auroc():
    def run(auroc):
        return SimpleNamespace(own=SummaryRow("e", "E", "score", *[None] * 3, auroc, *[None] * 5))

    aurocs = np.random.default_rng(0).permutation(np.linspace(0, 1, 93))
    chosen = shown_with_samples([run(auroc) for auroc in aurocs])
    assert len(chosen) == study.RUNS_WITH_SAMPLES and chosen == sorted(chosen)
    np.testing.assert_allclose(sorted(aurocs[chosen]), np.linspace(0, 1, study.RUNS_WITH_SAMPLES), atol=0.5 / 92 + 1e-9)


def test_the_page_is_plain_json_without_nan(sweep: Path):
    page = render(build_study(sweep, "mix"))
    text = page[page.index('id="data">') + 10 :]
    data = json.loads(text[: text.index("</script>")], parse_constant=lambda name: pytest.fail(name))
    assert len(data["runs"]) == 3
