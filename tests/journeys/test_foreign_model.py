"""A model of somebody's own, by class path, through the whole pipeline: trained here, or as it comes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from genuq import files
from genuq.cli import plan as plan_command
from genuq.config import schemas
from genuq.config.compose import check_overrides, prepared
from genuq.config.sweeps import sweep_of
from genuq.errors import CheckpointError, ConfigurationError
from genuq.models import MODELS
from genuq.pipeline.configured import open_model
from genuq.pipeline.preflight import check_settings
from genuq.pipeline.run import Run
from genuq.pipeline.stage import STAGES
from genuq.pipeline.stages.sample import read_samples
from genuq.report.run import RESULTS
from genuq.store.artefact import MANIFEST
from support.programs import COMMAND, environment, given_once, program
from support.small_runs import IMAGES, composed, launch
from support.their_model import write_package

LAB = "journey_lab"
OWN = [*IMAGES, f"model._target_={LAB}.build_model", "model.classes=2"]
BESIDE = [
    "propagator=trajectory",
    "+posterior@beside.deep=deep_ensemble",
    *("beside.deep.members=2", "beside.deep.draws=2", "beside.deep.steps=2"),
]
SHORT = "stages=[train,fit,sample]"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the package lies."""
    schemas.register()
    folder = tmp_path_factory.mktemp("lab")
    write_package(folder, LAB)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    forget()


def forget() -> None:
    """As a new process knows nothing of the package."""
    sys.modules.pop(LAB, None)
    MODELS.remove("build_model")


@pytest.fixture(scope="module")
def finished(place: Path, tmp_path_factory: pytest.TempPathFactory, image_root: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "own"
    launch(
        folder, *prepared([*OWN, *BESIDE, f"data.root={image_root}", *stages("propagate,embed,score,evaluate,report")])
    )
    return folder


def stages(after: str) -> list[str]:
    return [f"stages=[train,judge,fit,sample,{after}]"]


def opened(folder: Path, image_root: Path, *more: str) -> Run:
    given = [*OWN, f"data.root={image_root}", f"store={folder}/store", *more]
    return Run(composed(*prepared(given)), folder, "genuq")


def fingerprint(run: Run, stage: str = "sample") -> str:
    return STAGES[stage].folder(run).fingerprint


def manifests(store: Path) -> Mapping[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.glob(f"*/*/{MANIFEST}")}


def test_every_stage_takes_it(finished: Path) -> None:
    model = json.loads((finished / "report" / RESULTS).read_text())["model"]
    assert model | {"parameters": 0} == {
        "name": "build_model",
        "network": "Theirs",
        "parameters": 0,
        "prediction": "flow",
        "process": "flow_matching",
        "checkpoint": "model.safetensors",
    }
    assert "build_model" in (finished / "report" / "index.html").read_text()
    path = finished / "train" / "model.safetensors"
    tensors, metadata = files.read_tensors(path)
    assert json.loads(metadata["description"]) == {
        "part": "build_model",
        "options": {"width": 4, "side": 16, "classes": 2},
    }
    assert all(value.dtype == torch.float32 for value in tensors.values())


def test_its_posteriors_move_it(finished: Path) -> None:
    samples = read_samples(finished / "sample")
    for name in ("draws", "deep"):
        assert samples[name].abs().amax() > 0
    members = sorted((finished / "fit").resolve().glob("**/member-*.safetensors")) or sorted(
        finished.glob("store/posterior/*/members/member-*.safetensors")
    )
    first, second = (files.read_tensors(path)[0]["network.encoder.weight"] for path in members)
    assert (first - second).abs().amax() > 0.05, "each member starts from weights of its own"


def test_the_same_run_again_computes_nothing(finished: Path, image_root: Path) -> None:
    before = manifests(finished / "store")
    launch(
        finished,
        *prepared([*OWN, *BESIDE, f"data.root={image_root}", *stages("propagate,embed,score,evaluate,report")]),
    )
    assert manifests(finished / "store") == before


def test_a_plan_counts_it(finished: Path, image_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def planned(*more: str) -> dict[str, Any]:
        capsys.readouterr()
        given = [*OWN, *BESIDE, f"data.root={image_root}", *stages("propagate,embed,score,evaluate"), *more]
        last = {text.split("=")[0]: text for text in given}
        assert plan_command.main(["--json", "--no-calibration", *last.values()]) == 0
        return json.loads(capsys.readouterr().out)

    assert planned(f"store={finished}/store")["total"]["to_make"] == 0
    fresh = planned(f"store={finished}/elsewhere")
    # 24 samples of 2 steps: themselves, two draws of each posterior and of two controls; and the propagated ones
    assert fresh["stages"]["sample"]["evaluations"] == 24 * 2 * (1 + 2 + 2 + 2 + 2)
    assert fresh["total"]["to_make"] == 10


def test_its_code_and_options_are_its_identity(place: Path, image_root: Path, tmp_path: Path) -> None:
    known = fingerprint(opened(tmp_path, image_root, SHORT))
    assert fingerprint(opened(tmp_path, image_root, SHORT, "network=dit")) == known, "genuq's network is not read"
    assert fingerprint(opened(tmp_path, image_root, SHORT, "model.width=6")) != known
    write_package(place, LAB, "\n# another version\n")
    forget()
    assert fingerprint(opened(tmp_path, image_root, SHORT)) != known
    write_package(place, LAB)
    forget()
    assert fingerprint(opened(tmp_path, image_root, SHORT)) == known


def test_its_training_comes_back_as_a_checkpoint(finished: Path, image_root: Path, tmp_path: Path) -> None:
    path = finished / "train" / "model.safetensors"
    trained = open_model(opened(finished, image_root, *BESIDE, SHORT))
    again = open_model(opened(tmp_path, image_root, "stages=[fit,sample]", f"model.checkpoint={path}"))
    for name, value in again.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name])
    with pytest.raises(CheckpointError, match=r"options\.width: 4 in the file, 6 in the configuration"):
        open_model(opened(tmp_path, image_root, "stages=[fit]", "model.width=6", f"model.checkpoint={path}"))


def test_without_a_training_it_is_what_its_file_makes_it(place: Path, image_root: Path, tmp_path: Path) -> None:
    source = MODELS["build_model"].make(classes=2).network.state_dict()
    weights = [tmp_path / name for name in ("one.safetensors", "moved.safetensors", "other.safetensors")]
    for path, factor in zip(weights, (0.5, 0.5, 0.25)):
        save_file({name: factor * value for name, value in source.items()}, path)
    runs = [opened(tmp_path, image_root, "stages=[fit,sample]", f"model.weights={path}") for path in weights]
    one, moved, other = map(fingerprint, runs)
    assert one == moved != other
    assert torch.equal(open_model(runs[0]).network.encoder.weight, 0.5 * source["encoder.weight"])
    launch(
        tmp_path / "run",
        *prepared([*OWN, f"data.root={image_root}", "stages=[fit,sample]", f"model.weights={weights[0]}"]),
    )
    assert len(read_samples(tmp_path / "run" / "sample")["index"]) == 24


def test_what_does_not_fit_is_said_before_any_work(image_root: Path, tmp_path: Path, place: Path) -> None:
    for more, words in (
        ("model.classes=3", "model 'build_model' knows 3 classes, but data.name = 'image_folder' has 2"),
        ("model.side=8", r"makes samples of shape \(1, 8, 8\), but data.name = 'image_folder' has \(1, 16, 16\)"),
        ("model.head=final", "model.head = 'final' is not a Conv2d or Linear layer of Theirs"),
        ("model.weights=gone.safetensors", "gone.safetensors"),
    ):
        with pytest.raises((ConfigurationError, OSError), match=words):
            check_settings(opened(tmp_path, image_root, SHORT, more))
    target = f"model._target_={LAB}.build_model"
    for given, words in (
        ([f"model._target_={LAB}.build_modl"], f"'{LAB}' has no 'build_modl'"),
        ([target, "model.widht=3"], r"'model\.widht' is not a key of the configuration\. Did you mean 'width'"),
        ([target, "model.width=wide"], r"model\.width"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            check_overrides(prepared(given))


def command(place: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = environment()
    variables["PYTHONPATH"] = f"{place}:{variables['PYTHONPATH']}"
    return program(COMMAND, *given_once(arguments), folder=folder, variables=variables)


@pytest.mark.slow
def test_a_sweep_in_two_processes_leaves_what_one_process_leaves(
    place: Path, image_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = ["trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu"]
    sweep = ["-m", *OWN, f"data.root={image_root}", SHORT, "model.width=4,6", *two]
    first = command(place, tmp_path, *sweep)
    assert first.returncode == 0, first.stderr
    launch(tmp_path / "alone", *prepared([*OWN, f"data.root={image_root}", SHORT, "model.width=6"]))
    (other,) = (tmp_path / "outputs" / "sweeps").glob("*/model.width=6")
    left, right = read_samples(tmp_path / "alone" / "sample"), read_samples(other / "sample")
    for name, value in left.items():
        torch.testing.assert_close(right[name], value, rtol=1e-5, atol=1e-4)
    monkeypatch.chdir(tmp_path)
    last = {text.split("=")[0]: text for text in sweep}
    known = sweep_of(["-m", *prepared(list(last.values())[1:])])
    assert known is not None and known.is_finished()
    write_package(place, LAB, "\n# another version\n")
    assert not known.is_finished(), "its code is another"
    write_package(place, LAB)
    forget()
