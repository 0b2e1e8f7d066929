"""What a plan's times take for granted is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from genuq.cli import plan as plan_command
from genuq.config import schemas
from genuq.networks.adm import ADM, ADMSettings
from genuq.planning.assumptions import assumptions_of
from genuq.planning.history import TimeEstimate
from genuq.planning.plan import Plan, plan_of
from support import released
from support.small_runs import COMMON, POINTS


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schemas.register()
    monkeypatch.chdir(tmp_path)


def timed(how: str, *overrides: str) -> Plan:
    """A plan whose times all come from one place."""
    plan = plan_of(overrides, sweeping=False)
    assert not any(job.error for job in plan.jobs)
    plan.estimates = {one.folder.path: TimeEstimate(1.0, 1.0, 1.0, how) for one in plan.to_make}
    return plan


def test_compiled_passes_are_taken_to_last_as_long_as_others(tmp_path: Path) -> None:
    texts = [*POINTS, f"store={tmp_path}/store"]
    assert assumptions_of(timed("measured", *texts)) == []
    (said,) = assumptions_of(timed("measured", *texts, "sampler.compile=true"))
    assert said.startswith("sample with sampler.compile=true") and "train" not in said
    assert assumptions_of(timed("2 of the store", *texts, "sampler.compile=true")) == []  # which are compiled, too


def test_a_network_that_guides_is_taken_to_be_as_slow_as_the_models_own(tmp_path: Path, image_root: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "guide.safetensors"
    save_file(ADM(ADMSettings(**released.ADM | {"num_classes": 2})).state_dict(), path)
    changed = json.dumps(released.ADM | {"num_classes": 2}).replace('"', "")
    texts = [
        *(text for text in COMMON if "seed" not in text),
        *("model=adm", "model.preset=imagenet_128", f"model.changed={changed}", f"model.checkpoint={path}"),
        *("data=image_folder", f"data.root={image_root}", "data.image_size=8", "data.channels=3"),
        *("posterior.images=8", "posterior.held_out=8", "sampler.samples=8", "sampler.guidance_scale=2.0"),
        *("stages=[fit,sample]", f"store={tmp_path}/store"),
    ]
    assert assumptions_of(timed("counted", *texts[:-3], "sampler.guidance_scale=1.0", *texts[-2:])) == []
    (said,) = assumptions_of(timed("counted", *texts, f"model.guide={path}"))
    assert said.startswith("sample with model.guide")


def test_the_command_says_what_is_assumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genuq.planning.calibration.Calibration.seconds", lambda *_: 1.0)
    texts = [*POINTS, f"store={tmp_path}/store", "sampler.compile=true"]
    assert plan_command.main(texts) == 0
    assert "assumed: sample with sampler.compile=true" in capsys.readouterr().out
    assert plan_command.main(["--json", *texts]) == 0
    assert json.loads(capsys.readouterr().out)["assumed"][0].startswith("sample with sampler.compile")


def test_how_a_network_is_evaluated_sets_the_time_of_samples_alone(tmp_path: Path) -> None:
    texts = [*POINTS, f"store={tmp_path}/store", "posterior=exact_laplace"]
    plain, compiled = (
        {one.stage: one.work.like for one in plan_of([*texts, *more], sweeping=False).needed.values()}
        for more in ([], ["sampler.compile=true", "sampler.precision=bfloat16"])
    )
    assert {stage for stage in plain if plain[stage] != compiled[stage]} == {"sample"}
