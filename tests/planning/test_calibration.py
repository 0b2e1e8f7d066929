"""A calibration: every stage measured in little time, and nothing left of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq.cli import plan as plan_command
from genuq.config import schemas
from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel
from genuq.planning import calibration
from genuq.planning.calibration import BUDGET, STEP, Calibration
from genuq.planning.plan import plan_of
from genuq.planning.work import Piece
from genuq.pretrained.outline import from_configuration
from support.small_pipelines import options_of, saved
from support.small_runs import POINTS


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schemas.register()
    monkeypatch.chdir(tmp_path)


def test_a_calibration_measures_every_stage_of_a_run_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan_command.main([*POINTS, f"store={tmp_path}/store"]) == 0
    said = capsys.readouterr().out
    assert said.count("measured") >= 4 and "unknown" not in said and "could not be measured" not in said
    assert not list(tmp_path.iterdir())


def test_beyond_its_budget_a_calibration_derives_what_it_can(tmp_path: Path) -> None:
    plan = plan_of([*POINTS, f"store={tmp_path}/store"], sweeping=False)
    run = plan.to_make[0].run
    spent = Calibration(spent=BUDGET)
    assert spent.seconds(run, Piece("step", 7, 32)) is None  # not even the forward pass is known
    measured = Calibration()
    row = measured.forward(run, 32)
    measured.spent = BUDGET
    assert row and measured.seconds(run, Piece("step", 7, 32)) == pytest.approx(7 * 32 * STEP * row)
    assert measured.seconds(run, Piece("judge", 7, 32)) is None and measured.seconds(run, Piece("rule", 7)) == 7


def test_what_fails_while_it_is_measured_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> float:
        raise RuntimeError("no memory left\nand more")

    monkeypatch.setitem(calibration.MEASURES, "judge", (fails, calibration.MEASURES["judge"][1]))
    plan = plan_of([*POINTS, f"store={tmp_path}/store"], sweeping=False)
    plan.estimate(calibrate=True)
    assert plan.failures == {"judge": "no memory left"}
    assert [one.name for one in plan.to_make if plan.estimates[one.folder.path].seconds is None] == ["embed"]


def test_a_pass_is_measured_in_the_precision_that_samples_are_made_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, given = [], calibration.inputs

    def watched(model: GenerativeModel, rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        seen.append({value.dtype for value in model.network.parameters()})
        return given(model, rows)

    monkeypatch.setattr(calibration, "inputs", watched)
    monkeypatch.setattr(calibration, "bearable", lambda work, batch: float(work(batch).isfinite().all()))
    for settings in ([], ["sampler.precision=bfloat16", "sampler.compile=true"]):
        run = plan_of([*POINTS, f"store={tmp_path}/store", *settings], sweeping=False).to_make[0].run
        assert Calibration().forward(run, 8) == 1.0
    assert seen == [{torch.float32}, {torch.float32, torch.bfloat16}]


def test_a_model_without_weights_is_measured_with_random_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outlined = from_configuration(saved("stable_diffusion_3", tmp_path), **options_of("stable_diffusion_3"))
    made = calibration.filled(outlined, torch.device("cpu"))
    assert made.device.type == "cpu" and outlined.device.type == "meta" and made.head_name == outlined.head_name
    x, t, y = calibration.inputs(made, 2)
    assert made(x, t, y).isfinite().all() and made.autoencoder.decode(x).isfinite().all()
    monkeypatch.setattr(calibration, "LARGEST", 1000)
    with pytest.raises(ConfigurationError, match=r"weights are too many .* --card h200"):
        calibration.filled(outlined, torch.device("cpu"))
