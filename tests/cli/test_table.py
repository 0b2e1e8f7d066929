"""`genuq table` from records to files: what it computes is what the records say."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from scipy import stats

from genuq import files
from genuq.cli.main import subcommand
from genuq.cli.table import main
from genuq.store.records import record_path, write_record
from genuq.studies.collect import scores_of
from support.made_study import COMMAND, LIKELIHOODS, MODELS, POSTERIORS, declare, make_runs, numbers, record

FIGURES = ["figure-entropy-auroc", "figure-fid", "figure-retention-fid"]


@pytest.fixture
def study(tmp_path):
    """A study's folder, and a store with all of its runs."""
    make_runs(tmp_path / "store", curves=True)
    return declare(tmp_path / "posteriors")


def run(study, *arguments) -> str:
    main([str(study), "--store", str(study.parent / "store"), *map(str, arguments)])
    return (study / "table.md").read_text() if (study / "table.md").exists() else ""


def lines(study) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((study / "table.csv").read_text())))


def refused(capsys, study, *arguments) -> str:
    assert subcommand("table", [str(study), "--store", str(study.parent / "store"), *map(str, arguments)]) == 2
    return " ".join(capsys.readouterr().err.split())


def test_the_whole_table_is_that_of_the_records(study, capsys):
    page = run(study)
    assert "missing" not in page and f"`{COMMAND}`" in page
    found = {(e["model"], e["posterior"], e["likelihood"], e["measure"]): e for e in lines(study)}
    assert len(found) == 2 * 3 * 2 * 2
    for model in MODELS:
        for posterior in POSTERIORS:
            for likelihood in LIKELIHOODS:
                values = [numbers(model, posterior, likelihood, seed)["entropy/auroc"] for seed in range(3)]
                line = found[model, posterior, likelihood, "entropy/auroc"]
                assert float(line["mean"]) == pytest.approx(np.mean(values), rel=1e-12)
                assert float(line["standard_error"]) == pytest.approx(stats.sem(values), rel=1e-12)
                assert (line["n"], line["expected"], line["interval"]) == ("3", "3", "seeds")
    names = {path.name for path in study.iterdir()}
    texts = {"study.yaml", "table.md", "table.tex", "table.csv"}
    assert names == texts | {f"{name}.{kind}" for name in FIGURES for kind in ("svg", "pdf")}
    assert "table.tex" in capsys.readouterr().out


def test_missing_runs_are_missing_everywhere_and_nothing_is_guessed(study):
    store = study.parent / "store"
    for seed in range(3):
        gone = record({"model": "ddpm", "posterior": "swag", "likelihood": "pixel"}, seed)
        record_path(store, gone.study, gone.id).unlink()
    gone = record({"model": "ddpm", "posterior": "kfac", "likelihood": "pixel"}, 1)
    record_path(store, gone.study, gone.id).unlink()
    page = run(study)
    assert "**4 of 36 runs are missing:**" in page
    assert "genuq study=posteriors model=ddpm posterior=swag likelihood=pixel seed=2 sampler.samples=512" in page
    assert page.count("| ddpm | SWAG | — |") == 1 and "(2 of 3)" in page
    assert len((study / "missing.txt").read_text().splitlines()) == 4
    make_runs(store)
    assert "missing" not in run(study)
    assert not (study / "missing.txt").exists()


def test_a_study_that_was_never_run_is_all_missing(tmp_path):
    write_record(tmp_path / "store", record({"model": "a"}, 0, study="others"))
    page = run(declare(tmp_path / "posteriors"))
    assert "**36 of 36 runs are missing:**" in page and "± " not in page
    assert "No run of study 'posteriors' is recorded in" in page and "it has runs of others" in page


def test_scores_are_rows_of_their_own(study):
    declare(study, scores=["entropy", "jitter"], measures=["auroc"], within=["score"])
    page = run(study)
    assert page.count("| Generative uncertainty |") == page.count("| Initial-noise jitter |") == 6
    values = [numbers("ddpm", "kfac", "pixel", seed)["jitter/auroc"] for seed in range(3)]
    line = next(e for e in lines(study) if e["score"] == "Initial-noise jitter" and e["posterior"] == "kfac")
    assert float(line["mean"]) == pytest.approx(np.mean(values), rel=1e-12)
    marks = {(e["likelihood"], e["score"]) for e in lines(study) if e["bold"] == "best"}
    assert len(marks) == 4


def test_seconds_of_stages_are_measures_too(study):
    declare(study, measures=["seconds/sample", {"name": "precision", "label": "P", "digits": 4}])
    page = run(study)
    assert "Seconds of sample ↓ · pixel" in page and "20.0 ± 0.0" in page and "P ↑ · pixel" in page


def test_runs_of_other_settings_are_named_and_left_out(study):
    other = record({"model": "ddpm", "posterior": "isotropic", "likelihood": "pixel"}, 0)
    write_record(study.parent / "store", other)
    page = run(study)
    assert f"not of its commands, and left out: {other.name}" in page and "isotropic |" not in page


def test_curves_that_the_store_has_lost_leave_no_figure(study):
    for path in (study.parent / "store" / "evaluate").rglob("*.json"):
        path.unlink()
    run(study)
    assert not list(study.glob("figure-retention*")) and list(study.glob("figure-fid.pdf"))


def test_it_writes_where_it_is_told_to_and_the_same_again(study, tmp_path):
    for name in ("one", "two"):
        run(study, "--out", tmp_path / name)
    assert not (study / "table.md").exists()
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"measures": ["entropy/aurok"]}, "no run has the number 'entropy/aurok'. Did you mean 'entropy/auroc'?"),
        ({"scores": ["entropie"], "measures": ["auroc"]}, "scores: 'entropie', measures: 'auroc'"),
        ({"published": ["bayesdiff"]}, "published: 'bayesdiff' is not in published.yaml"),
    ],
)
def test_what_cannot_be_shown_is_refused(study, capsys, changes, message):
    declare(study, **changes)
    assert message in refused(capsys, study)
    assert not (study / "table.md").exists()


def test_a_broken_record_is_named(study, capsys):
    broken = next((study.parent / "store" / "runs" / "posteriors").iterdir())
    broken.write_text("{")
    assert broken.name in refused(capsys, study)


def test_help_and_no_study_say_what_to_give(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "study.yaml" in capsys.readouterr().out
    assert subcommand("table", []) == 2 and "experiments/NAME" in capsys.readouterr().err


def test_scores_of_an_evaluation_from_before_they_had_a_file_of_their_own(study):
    path = next((study.parent / "store" / "evaluate").rglob("scores.json"))
    run = next(r for r in make_runs(study.parent / "store") if r.artefacts["evaluate"].endswith(path.parent.name))
    scores = scores_of(run, study.parent / "store")
    assert files.plain(scores) == json.loads(path.read_text()) != []
    path.unlink()
    assert scores_of(run, study.parent / "store") == scores


@pytest.mark.parametrize("name", ["scores.json", "evaluation.json"])
def test_a_broken_evaluation_is_named(study, capsys, name):
    path = next((study.parent / "store" / "evaluate").rglob(name))
    path.write_text(path.read_text()[:300])
    if name == "evaluation.json":
        (path.parent / "scores.json").unlink()
    assert f"{path} is not whole JSON" in refused(capsys, study)


def test_an_evaluation_of_another_version_names_the_key(study, capsys):
    path = next((study.parent / "store" / "evaluate").rglob("scores.json"))
    entries = json.loads(path.read_text())
    entries[1]["labl"] = entries[1].pop("label")
    path.write_text(json.dumps(entries))
    assert f"{path}: '[1].labl' is not a key of this version. Did you mean 'label'?" in refused(capsys, study)
