"""The store as a whole: what it lists, what it finds broken, what it gives up, and that two runs share it."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import pytest

from genuq import files
from genuq.cli import store as store_command
from genuq.errors import ArtefactError
from genuq.store.artefact import StageFolder
from genuq.store.records import read_records
from genuq.store.store import Store
from support.small_runs import POINTS, copied, launch

STAGES = ["train", "fit", "sample", "embed", "score", "evaluate"]
ALL_STAGES = "stages=[train,fit,sample,propagate,embed,score,evaluate,apply,report]"


@pytest.fixture
def copy(points_run: Path, tmp_path: Path) -> Path:
    return copied(points_run, tmp_path / "points")


def names(store: Path) -> set[str]:
    return {artefact.name for artefact in Store(store).artefacts()}


def test_a_change_and_its_undoing_cost_one_artefact_each(copy: Path) -> None:
    """The samples of the first configuration are still there when one comes back to it."""
    before = names(copy / "store")
    launch(copy, *POINTS, "sampler.steps=4")
    with_both = names(copy / "store")
    new = {name.split("/")[0] for name in with_both - before}
    assert before < with_both and new == {"sample", "embed", "score", "evaluate"}
    written = {path: path.stat().st_mtime_ns for path in (copy / "store").rglob("*.safetensors")}
    launch(copy, *POINTS)
    assert names(copy / "store") == with_both
    assert {path: path.stat().st_mtime_ns for path in (copy / "store").rglob("*.safetensors")} == written


def test_a_sweep_over_variances_embeds_once_and_one_over_references_samples_once(tmp_path: Path) -> None:
    store = f"store={tmp_path}/store"
    for number, variance in enumerate((0.1, 0.2)):
        launch(tmp_path / f"variance-{number}", *POINTS, store, f"likelihood.observation_variance={variance}")
    launch(tmp_path / "fewer", *POINTS, store, "metric.reference_images=30")
    made = {stage: sum(name.startswith(f"{stage}/") for name in names(tmp_path / "store")) for stage in STAGES}
    assert made == {"train": 1, "fit": 1, "sample": 1, "embed": 2, "score": 3, "evaluate": 3}


def test_the_record_holds_the_numbers_of_the_evaluation(points_run: Path) -> None:
    (record,) = read_records(points_run / "store")
    evaluation = files.read_json(points_run / "evaluate" / "evaluation.json")
    entropy = next(row for row in evaluation["scores"] if row["name"] == "entropy")
    numbers = record.results.numbers
    assert numbers["entropy/auroc"] == entropy["auroc"]["value"]
    assert numbers["entropy/ause_low"] == entropy["ause"]["low"]
    assert numbers["fid"] == entropy["curves"]["fid"]["value"][0]
    assert record.study == "mixture" and (points_run / "store" / record.folder).samefile(points_run)
    assert all((points_run / "store" / path / "manifest.json").exists() for path in record.artefacts.values())
    assert record.seconds.keys() == record.artefacts.keys() and set(STAGES) < record.artefacts.keys()


def test_a_run_that_did_not_end_has_a_record_without_results(tmp_path: Path) -> None:
    launch(tmp_path, *POINTS, "stages=[train,fit]")
    (record,) = read_records(tmp_path / "store")
    assert record.results is None and record.seconds.keys() == record.artefacts.keys()


@pytest.mark.parametrize("stage", [*STAGES, "posterior"])
def test_one_altered_byte_is_found_and_named(
    stage: str, copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `verify`, and by the next stage that reads it, whatever the file's time of change says."""
    folder = next(path for path in (copy / "store" / stage).iterdir())
    harmed = max((path for path in folder.iterdir() if path.name != "manifest.json"), key=lambda path: path.name)
    changed = harmed.stat().st_mtime_ns
    content = bytearray(harmed.read_bytes())
    content[len(content) // 2] ^= 1
    harmed.write_bytes(content)
    os.utime(harmed, ns=(changed, changed))
    assert store_command.main(["verify", "--store", str(copy / "store")]) == 1
    said = " ".join(capsys.readouterr().out.split()).replace(" ", "")
    assert harmed.name in said and folder.name in said and "1broken" in said
    if stage == "evaluate":  # read by the report alone
        return
    following = {"posterior": "fit"} | dict(itertools.pairwise(STAGES))
    for later in [following[stage], *STAGES[STAGES.index(following[stage]) + 1 :]]:
        shutil.rmtree(copy / "store" / later)
    with pytest.raises(ArtefactError, match=harmed.name):
        launch(copy, *POINTS)


@pytest.mark.parametrize("harm", ["truncated", "altered"])
def test_a_harmed_manifest_is_found(harm: str, copy: Path) -> None:
    path = next((copy / "store" / "score").glob("*/manifest.json"))
    text = path.read_text()
    path.write_text(text[:90] if harm == "truncated" else text.replace('"seed": 3', '"seed": 4'))
    (message,) = Store(copy / "store").broken()
    assert str(path) in message


def test_prune_keeps_what_runs_need_and_what_they_were_made_from(copy: Path) -> None:
    launch(copy, *POINTS, "sampler.steps=4")
    store = Store(copy / "store")
    (copy / "store" / "sample" / ("0" * 32)).mkdir()
    assert [artefact.name for artefact in store.unused()] == [f"sample/{'0' * 32}"]
    old = min(store.records(), key=lambda pair: pair[0].stat().st_mtime_ns)[0]
    old.unlink()
    unused = {artefact.name.split("/")[0] for artefact in store.unused()}
    assert unused == {"sample", "embed", "score", "evaluate"}  # training and fit belong to the other run too
    assert store_command.main(["prune", "--yes", "--store", str(copy / "store")]) == 0
    assert not store.unused() and not store.broken()
    launch(copy, *POINTS, "sampler.steps=4")


def test_prune_leaves_what_is_being_made(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "store" / "sample" / ("0" * 32), {})
    folder.path.mkdir(parents=True)
    with folder.exclusively(lambda: None):
        assert Store(tmp_path / "store").unused() == []
    assert [artefact.path for artefact in Store(tmp_path / "store").unused()] == [folder.path]


def test_verify_names_one_altered_byte_in_every_kind_of_artefact(copy: Path, images_run: Path, tmp_path: Path) -> None:
    more = [text for text in POINTS if not text.startswith("stages=")]
    launch(copy, *more, "propagator=trajectory", "application=filter", "application.fraction=0.5", ALL_STAGES)
    stores = {
        copy / "store": {*STAGES, "posterior", "propagate", "apply", "report"},
        copied(images_run, tmp_path / "images") / "store": {"judge", "report"},
    }
    for store, kinds in stores.items():
        assert kinds <= {artefact.stage for artefact in Store(store).artefacts()}
        for kind in kinds:
            folder = next(path for path in (store / kind).iterdir() if (path / "manifest.json").exists())
            harmed = next(path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "manifest.json")
            content = harmed.read_bytes()
            harmed.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            (message,) = Store(store).broken()
            assert str(harmed) in message
            harmed.write_bytes(content)
        assert Store(store).broken() == []
