"""Weights & Biases looks on: what was logged offline is read back, and no failure of it touches the run."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wandb
import yaml
from PIL import Image

from genuq import files
from genuq.models import to_bytes
from genuq.pipeline.run import Run
from genuq.store.records import read_records
from genuq.store.shards import read_shards
from genuq.studies.dashboard_content import board_of, sections
from genuq.tracking.wandb_run import wandb_id
from genuq.training.modules import GenerativeTraining
from support.small_runs import IMAGES, POINTS, composed, launch
from support.wandb_files import Logged, offline_runs, read_back
from support.wandb_server import synced

STAGES = ["train", "judge", "fit", "sample", "propagate", "embed", "score", "evaluate", "apply", "report"]
WANDB = ["logger=wandb", "logger.samples=7", "logger.project=uncertain"]
MANY = [*IMAGES, *WANDB, "propagator=trajectory", "application=filter", f"stages=[{','.join(STAGES)}]"]
MANY += ["+posterior@beside.diagonal=diagonal_laplace", *(f"beside.diagonal.{part}" for part in ("images=40",))]
MANY += ["beside.diagonal.held_out=16", "beside.diagonal.draws=3", "trainer.steps=40", "name=looked_at"]


@pytest.fixture(scope="module", autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No network, whatever wandb would like, and nobody's account."""
    real, home = socket.socket.connect, tmp_path_factory.mktemp("home")

    def local_only(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a connection to {address} was tried")
        real(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local_only)
        for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
            patch.setenv(name, str(home))
        patch.setenv("NETRC", str(home / "netrc"))
        for name in ("WANDB_API_KEY", "WANDB_DATA_DIR", "WANDB_MODE"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def looked_at(image_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wandb") / "run"
    launch(folder, *MANY, f"data.root={image_root}")
    wandb.teardown()  # as at the end of a process: its service writes the files to the end
    return folder


@pytest.fixture(scope="module")
def logged(looked_at: Path) -> dict[str, Logged]:
    return offline_runs(looked_at)


@pytest.fixture(scope="module")
def evaluation(looked_at: Path) -> dict[str, Any]:
    return files.read_json(looked_at / "evaluate" / "evaluation.json")


def test_every_stage_is_a_run_of_the_study(logged: dict[str, Logged], looked_at: Path, image_root: Path) -> None:
    assert sorted(logged) == sorted(STAGES)
    run = Run(composed(*MANY, f"data.root={image_root}"), looked_at, "genuq")
    config = yaml.safe_load((looked_at / "config.yaml").read_text())
    for stage, one in logged.items():
        assert (one.run.run_group, one.run.project, one.exit_code) == ("looked_at", "uncertain", 0)
        assert one.run.run_id == wandb_id(run, stage) and one.run.display_name == f"looked_at/{stage}"
        assert {key: one.config[key] for key in config} == config
        assert {"exact_laplace", "diagonal", "flow_matching", "pixel"} <= set(one.run.tags)
        seconds = files.read_json(looked_at / stage / "manifest.json")["seconds"]
        assert one.summary[f"seconds/{stage}"] == seconds
    assert len({one.run.run_id for one in logged.values()}) == len(STAGES)


def test_the_loss_of_a_training_is_logged_by_step(logged: dict[str, Logged]) -> None:
    rows = [row for row in logged["train"].history if "model-train/loss" in row]
    assert [row["trainer/global_step"] for row in rows] == [19, 39]
    assert all(row["model-train/loss"] > 0 for row in rows)
    assert logged["train"].summary["train/test_loss"] > 0
    assert 0 <= logged["judge"].summary["judge/real_test_accuracy"] <= 1


def test_numbers_and_sentence_are_those_of_the_evaluation(logged: dict[str, Logged], evaluation: dict) -> None:
    summary = logged["evaluate"].summary
    for row in evaluation["summary"]["table"]:
        for key in ("auroc", "auroc_low", "spearman", "fid_gain_high"):
            assert summary[f"{row['score']}/{key}"] == pytest.approx(row[key], rel=1e-12)
    for row in evaluation["scores"]:
        assert summary[f"{row['name']}/ause"] == pytest.approx(row["ause"]["value"], rel=1e-12)
    assert summary["sentence"] == evaluation["summary"]["sentence"]


def test_scale_and_cost_are_logged(logged: dict[str, Logged], looked_at: Path) -> None:
    fitted = files.read_json(looked_at / "fit" / "manifest.json")["notes"]["posteriors"]
    sampled = files.read_json(looked_at / "sample" / "manifest.json")["notes"]
    fit, sample = logged["fit"].summary, logged["sample"].summary
    for name, entry in fitted.items():
        assert fit[f"fit/posteriors/{name}/scale/temperature"] == pytest.approx(entry["scale"]["temperature"])
        assert fit[f"fit/posteriors/{name}/fit_seconds"] == pytest.approx(entry["fit_seconds"])
    assert logged["evaluate"].summary["posterior/temperature"] == fitted["draws"]["scale"]["temperature"]
    assert sample["sample/evaluations_per_sample"] == sampled["evaluations_per_sample"] == 2


def test_retention_curves_are_one_native_chart_a_metric(logged: dict[str, Logged], evaluation: dict) -> None:
    one = logged["evaluate"]
    for metric in ("fid", "precision", "recall", "density", "coverage"):
        assert one.chart(f"retention/{metric}")["panelDefId"] == "wandb/lineseries/v0"
        rows = one.table(f"retention/{metric}_table")["data"]
        wanted = [
            [fraction, row["label"], value]
            for row in evaluation["scores"]
            for fraction, value in zip(row["curves"][metric]["fraction"], row["curves"][metric]["value"])
        ]
        assert rows[: len(wanted)] == wanted and {row[1] for row in rows[len(wanted) :]} == {"Random, equal N"}


def test_the_run_s_own_curve_is_also_a_history(logged: dict[str, Logged], evaluation: dict) -> None:
    rows = [row for row in logged["evaluate"].history if "fraction_kept" in row]
    curve = evaluation["scores"][0]["curves"]["fid"]
    assert [(row["fraction_kept"], row["kept/fid"]) for row in rows] == list(zip(curve["fraction"], curve["value"]))
    assert [row["kept/fid_at_random"] for row in rows] == curve["random_value"]


def test_scatter_shows_each_sample_and_evidence_its_maximum(logged: dict[str, Logged], evaluation: dict) -> None:
    columns, rows = evaluation["samples"]["columns"], evaluation["samples"]["rows"]
    assert logged["evaluate"].chart("scatter/confidence")["panelDefId"] == "wandb/scatter/v0"
    pairs = [[row[columns.index("confidence")], row[columns.index("score_entropy")]] for row in rows]
    assert logged["evaluate"].table("scatter/confidence_table")["data"] == pairs
    evidence = logged["fit"].table("fit/evidence_table")["data"]
    assert {name for _, name, _ in evidence} == {"posterior", "diagonal"}
    assert max(y for _, name, y in evidence if name == "diagonal") == 0


def test_the_table_runs_through_the_ranking_with_both_ends(logged: dict[str, Logged], evaluation: dict) -> None:
    columns, rows = evaluation["samples"]["columns"], evaluation["samples"]["rows"]
    ranked = sorted(rows, key=lambda row: -row[columns.index("score_entropy")])
    shown = logged["evaluate"].cells("samples")
    assert [row["rank"] for row in shown] == [1, 5, 9, 13, 16, 20, 24]
    for row in shown:
        assert [row[name] for name in columns] == pytest.approx(ranked[row["rank"] - 1])


def test_the_table_shows_samples_draws_and_maps(logged: dict[str, Logged], looked_at: Path) -> None:
    one, samples = logged["evaluate"], read_shards(looked_at / "sample")
    for row in one.cells("samples"):
        pixels = to_bytes(samples["image"][row["index"]][None])[0, 0].numpy()
        enlarged = Image.fromarray(pixels).resize((112, 112), Image.Resampling.NEAREST)
        assert np.array_equal(one.image("samples", row["image"]), enlarged)
        assert one.image("samples", row["draws"]).size == (2 * 112 + 2, 112)
        assert one.image("samples", row["draws_diagonal"]).size == (3 * 112 + 4, 112)
        draw = (samples["image"][row["index"]] + samples["diagonal"][row["index"], 1].float())[None]
        second = np.asarray(one.image("samples", row["draws_diagonal"]))[::7, 114 : 114 + 112 : 7]
        assert np.array_equal(second, to_bytes(draw)[0, 0].numpy())


def test_a_map_is_warm_where_the_variance_is_highest(logged: dict[str, Logged], looked_at: Path) -> None:
    one, maps = logged["evaluate"], read_shards(looked_at / "propagate")["map"][:, 0]
    for row in one.cells("samples"):
        heat = np.asarray(one.image("samples", row["map"]))[::7, ::7].astype(int)
        colour = np.ptp(heat, axis=2)  # the sample is grey: what has colour is heat
        order = maps[row["index"]].flatten().argsort().numpy()
        assert colour.flatten()[order[-25:]].mean() > colour.flatten()[order[:25]].mean() + 20


def test_contact_sheets_and_plots_are_images(logged: dict[str, Logged], looked_at: Path) -> None:
    for stage, key in (("sample", "sheets/samples"), ("propagate", "sheets/maps"), ("report", "plots/retention")):
        row = logged[stage].history[-1]
        with Image.open(logged[stage].folder / "files" / row[f"{key}/path"]) as image:
            assert image.size == (row[f"{key}/width"], row[f"{key}/height"])
    names = {path.stem for path in (looked_at / "report" / "plots").glob("*.png")}
    assert {key.split("/")[1] for key in logged["report"].summary if key.startswith("plots/")} == names


def test_the_outcome_of_an_application_is_logged(logged: dict[str, Logged], looked_at: Path) -> None:
    outcome = files.read_json(looked_at / "apply" / "application.json")["outcome"]
    for row in outcome:
        assert logged["apply"].summary[f"apply/{row['measure']}/difference"] == pytest.approx(row["difference"])


def test_a_dashboard_s_panels_show_what_is_logged(logged: dict[str, Logged], looked_at: Path) -> None:
    (record,) = read_records(looked_at / "store", "looked_at")
    summaries = {**logged["evaluate"].summary, **logged["apply"].summary}
    assert record.results.numbers.items() <= summaries.items()
    keys = {key for one in logged.values() for row in one.history for key in row}
    panels = [panel for part in sections(board_of(record.study, [record], "us", None)).values() for panel in part]
    for panel in panels:
        shown = [getattr(panel, "x", None), *getattr(panel, "y", []), *getattr(panel, "metrics", [])]
        assert {name for name in shown if name} <= keys
    assert any(getattr(panel, "table_name", None) == "samples" for panel in panels)
    assert {one.run.run_group for one in logged.values()} == {record.study}
    assert logged["evaluate"].config["posterior"]["name"] == record.config["posterior"]["name"] == "exact_laplace"


def test_wandb_sync_uploads_every_stage(logged: dict[str, Logged], looked_at: Path, tmp_path: Path) -> None:
    uploaded = {run["jobType"]: run for run in synced(looked_at, tmp_path).values()}
    assert sorted(uploaded) == sorted(STAGES)
    for stage, run in uploaded.items():
        assert (run["name"], run["groupName"], run["project"]) == (logged[stage].run.run_id, "looked_at", "uncertain")
        assert len(run["history"]) == len(logged[stage].history)
    last = uploaded["evaluate"]["history"][-1]
    assert last["entropy/auroc"] == logged["evaluate"].summary["entropy/auroc"] and last["samples"]["nrows"] == 7


def test_nothing_lies_outside_of_the_run(logged: dict[str, Logged], looked_at: Path) -> None:
    paths = [path for one in logged.values() for entries in one.artifacts.values() for path in entries.values()]
    assert paths and all(path.is_relative_to(looked_at / "logs") and path.exists() for path in paths)


def test_the_same_command_again_logs_nothing_more(looked_at: Path, image_root: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(looked_at, tmp_path / "run", symlinks=True))
    before = sorted(path.name for path in (copy / "logs" / "wandb").glob("offline-run-*"))
    launch(copy, *MANY, f"data.root={image_root}")
    assert sorted(path.name for path in (copy / "logs" / "wandb").glob("offline-run-*")) == before


def test_logging_changes_no_result(points_run: Path, tmp_path: Path) -> None:
    launch(tmp_path / "run", *POINTS, "logger=wandb")
    wandb.teardown()
    for name in ("train/model", "fit/posterior", "embed/shard-0000000-0000016", "score/scores"):
        made, others = (files.read_tensors(root / f"{name}.safetensors")[0] for root in (tmp_path / "run", points_run))
        assert made.keys() == others.keys() and all(torch.equal(made[key], others[key]) for key in made)
    made, others = (files.read_json(root / "evaluate" / "evaluation.json") for root in (tmp_path / "run", points_run))
    assert made == others
    rows = offline_runs(tmp_path / "run")["evaluate"].table("samples")
    points = read_shards(tmp_path / "run" / "sample")["image"]
    at = rows["columns"].index
    for row in rows["data"]:
        assert [row[at("x0")], row[at("x1")]] == pytest.approx(points[row[at("index")]].tolist())


def broken(*args: Any, **kwargs: Any) -> Any:
    raise OSError("No space left on device")


def test_without_a_working_wandb_the_run_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wandb, "init", broken)
    launch(tmp_path / "run", *POINTS, "logger=wandb")
    assert (tmp_path / "run" / "evaluate" / "evaluation.json").exists()
    told = capsys.readouterr().out
    assert "the stage evaluate could not be logged to wandb (No space left on device)" in " ".join(told.split())


def test_without_wandb_installed_the_run_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    launch(tmp_path / "run", *POINTS, "logger=wandb", "stages=[train,fit]")
    assert (tmp_path / "run" / "fit" / "manifest.json").exists()
    assert "the stage fit could not be logged to wandb (import of wandb halted" in " ".join(
        capsys.readouterr().out.split()
    )
    assert not (tmp_path / "run" / "logs" / "wandb").exists()


def test_a_training_survives_the_loss_of_its_logger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wandb.Run, "log", broken)
    launch(tmp_path / "run", *POINTS, "logger=wandb", "stages=[train]", "trainer.steps=80")
    assert (tmp_path / "run" / "train" / "manifest.json").exists()
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("the training could not be logged") == 1


def test_where_logs_should_lie_may_be_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "logs").write_text("in the way")
    launch(tmp_path / "run", *POINTS, "logger=wandb", "stages=[train]")
    assert (tmp_path / "run" / "train" / "manifest.json").exists()
    assert "the stage train could not be logged to wandb" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "run" / "logs").read_text() == "in the way"


def test_online_without_an_account_is_offline_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launch(tmp_path / "run", *POINTS, "logger=wandb", "logger.mode=online", "stages=[train]")
    wandb.teardown()
    assert "no API key: run `wandb login`" in " ".join(capsys.readouterr().out.split())
    assert list(offline_runs(tmp_path / "run")) == ["train"]


def test_a_broken_off_training_goes_on_in_its_wandb_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [*POINTS, "logger=wandb", "stages=[train]", "trainer.steps=60", "trainer.checkpoint_every=20"]
    calls: list[int] = []

    def stops(self: Any, *args: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 45:
            raise KeyboardInterrupt
        return original(self, *args)

    original = GenerativeTraining.training_step
    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, SystemExit)):
        patch.setattr(GenerativeTraining, "training_step", stops)
        launch(tmp_path / "run", *steps)
    launch(tmp_path / "run", *steps)
    wandb.teardown()
    folders = sorted((tmp_path / "run" / "logs" / "wandb").glob("offline-run-*"))
    first, second = (read_back(next(folder.glob("*.wandb"))) for folder in folders)
    assert first.run.run_id == second.run.run_id and (first.exit_code, second.exit_code) == (1, 0)
    taken = [row["trainer/global_step"] for one in (first, second) for row in one.history if "model-train/loss" in row]
    assert taken == [19, 39, 59]
    (uploaded,) = synced(tmp_path / "run", tmp_path).values()
    assert [row["trainer/global_step"] for row in uploaded["history"] if "model-train/loss" in row] == [19, 39, 59]
