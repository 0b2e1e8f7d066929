"""`genuq plan`: what is typed, and what cannot be planned."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from genuq.cli import plan as plan_command
from genuq.cli.plan import fit_in_words, without_own_flags
from genuq.config import schemas
from genuq.config.compose import config_directory
from genuq.config.sweeps import sweep_of
from genuq.errors import ConfigurationError
from genuq.planning.cards import Card
from genuq.planning.holding import Held
from genuq.planning.plan import plan_of
from support.plans import planned, to_make
from support.small_pipelines import saved
from support.small_runs import COMMON, EVALUATION, POINTS


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schemas.register()
    monkeypatch.chdir(tmp_path)


def test_m_may_stand_between_the_overrides_and_jobs_are_called_as_hydra_calls_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [*(text for text in POINTS if text != "seed=3"), f"store={tmp_path}/store", "seed=0,1", "data=mixture8"]
    plan = planned(capsys, *texts[:-2], "-m", *texts[-2:])
    assert [job["name"] for job in plan["jobs"]] == ["seed=0", "seed=1"] and to_make(plan)["train"] == 2
    sweep = sweep_of(["-m", *texts])
    assert sweep and sweep.jobs
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        for job in sweep.jobs:
            config = compose("config", overrides=[*job, *sweep.arguments(texts)], return_hydra_config=True)
            assert config.hydra.job.override_dirname == sweep.job_name(job)


def test_runs_without_a_propagator_and_with_one_are_one_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the run without one asks for what a run that says nothing of propagators asks for."""
    texts = [*POINTS, f"store={tmp_path}/store", "posterior=exact_laplace", "stages=[train,fit,sample,propagate]"]
    swept = planned(capsys, "-m", *texts, "propagator=none,trajectory", "application=none")
    assert [job["name"] for job in swept["jobs"]] == ["propagator=none", "propagator=trajectory"]
    assert to_make(swept) == {"train": 1, "posterior": 1, "fit": 1, "sample": 1, "propagate": 1}
    plain, none = (
        list(plan_of(typed, False).needed) for typed in (texts, [*texts, "propagator=none", "application=none"])
    )
    assert plain == none


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sampler.stepz=3"], "Did you mean 'steps'"),
        (["-m", "posterior=exakt,map"], "posterior=exakt: there is no such option"),
        (["seed=1,2"], "add -m"),
        (["-m", "hydra/sweeper=basic", "hydra.sweeper.max_batch_size=1", "seed=1,2"], "hydra/sweeper"),
    ],
)
def test_overrides_that_cannot_be_planned(arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        plan_command.main(["--no-calibration", *arguments])


PRETRAINED = [
    *COMMON,
    *EVALUATION,
    "model=diffusers",
    "data=image_folder",
    "data.image_size=16",
    "posterior.images=16",
    "posterior.held_out=8",
    "metric.allow_shared_extractor=true",
    "metric.reference_images=24",
    "model.prompts=[a red cat,two small blue dogs]",
    "model.precision=bfloat16",
    "sampler.samples=40",
]


@pytest.fixture(scope="module")
def outlined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = saved("stable_diffusion_3", tmp_path_factory.mktemp("outlined"))
    for path in folder.rglob("*.safetensors"):
        path.unlink()
    return folder


@pytest.fixture
def pretrained(outlined: Path, image_root: Path, tmp_path: Path) -> list[str]:
    return [*PRETRAINED, f"model.pretrained={outlined}", f"data.root={image_root}", f"store={tmp_path}/store"]


def test_a_pipeline_without_weights_on_a_card(pretrained: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(capsys, *pretrained, "--card", "h200")
    sample = plan["stages"]["sample"]
    made = sum(sample["purposes"][name]["evaluations"] for name in sample["purposes"])
    assert made == sample["evaluations"] and sample["purposes"]["sampling"]["evaluations"] == 40 * 28 * 2
    assert plan["card"]["title"] == "NVIDIA H200" and plan["not_measured"] == {}
    ideal = sample["operations"] / 989e12
    assert sample["seconds"]["low"] < ideal / 0.4 < sample["seconds"]["high"] and sample["seconds"]["how"] == [
        "counted"
    ]
    assert sample["gpu_hours"] == pytest.approx(sample["seconds"]["value"] / 3600)
    (held,) = plan["memory"]
    assert held["precision"] == "bfloat16" and len(plan["weights_not_read"]) == 1
    twice = planned(capsys, *pretrained, "--card=h200", "sampler.samples=80")["stages"]["sample"]
    assert twice["operations"] == pytest.approx(2 * sample["operations"], rel=1e-3)  # prompts are encoded once


@pytest.mark.parametrize(
    "more",
    [
        ["posterior=kfac", "score.also=[renoised_disagreement]"],
        ["posterior=diagonal_laplace", "propagator=trajectory"],
        ["posterior=posthoc_ensemble", "posterior.members=5", "application=guide", "application.samples=10"],
    ],
)
def test_posteriors_over_networks_without_numbers(
    more: list[str], pretrained: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = [text for text in pretrained if "ensemble" not in more[0] or not text.startswith("posterior.")]
    plan = planned(capsys, *given, *more, "--card", "h200")
    assert plan["not_measured"] == {} and plan["stages"]["posterior"]["operations"] > 0
    assert plan["stages"]["posterior"]["bytes"] > 1000


def test_what_a_card_is_said_of(pretrained: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    plan_command.main([*pretrained, "--card", "l4", "--no-calibration"])
    said = " ".join(capsys.readouterr().out.split())
    assert "GPU-hours" in said and "counted, not measured" in said and "fit the 24 GB of NVIDIA L4" in said
    assert "weights not read" in said
    with pytest.raises(ConfigurationError, match="--card 'h2000' is not known"):
        plan_command.main(["--card", "h2000"])


def test_the_commands_own_flags_are_none_of_the_runs() -> None:
    assert without_own_flags(["--json", "seed=1", "--card", "h200", "-m", "--card=l4"]) == ["seed=1", "-m"]


def test_weights_beyond_the_card_are_said(outlined: Path) -> None:
    small = Card("Maker Tiny", 1.0, 1.0, memory=0.001)
    assert "do not fit the 0.001 GB of Maker Tiny" in fit_in_words(Held(1, 2_000_000, "float32"), small)


def test_a_job_on_many_workers_is_simulated_with_its_assumptions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*POINTS, f"store={tmp_path}/store", "--simulate", "workers=4,mtbf=1h,repeats=3"]
    found = planned(capsys, *arguments, "--card", "h100")["simulation"]
    assert [row["workers"] for row in found["workers"]] == [1, 2, 4] and found["cluster"]["mtbf"] == 3600
    plan_command.main(["--no-calibration", *arguments])
    said = capsys.readouterr().out
    assert all(each in said for each in found["assumptions"]) and "simulated: workers=4, mode=alone" in said
    assert without_own_flags([*arguments, "seed=1"]) == [*arguments[:-2], "seed=1"]
    with pytest.raises(ConfigurationError, match=r"--simulate takes the times of one process, not of trainer\.devices"):
        plan_command.main(["--no-calibration", *arguments, "trainer=ddp"])


def test_workers_of_one_run_need_the_same_artefacts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a Slurm array, or a sweep over `worker` with any launcher, makes together."""
    plan = planned(capsys, "-m", *POINTS, f"store={tmp_path}/store", "worker=range(0,3)")
    assert [job["name"] for job in plan["jobs"]] == ["worker=0", "worker=1", "worker=2"]
    assert set(to_make(plan).values()) == {1} and {row["jobs"] for row in plan["stages"].values()} == {3}
