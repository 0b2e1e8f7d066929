"""`model=diffusers`: a saved pipeline through the whole run, whose samples are its own."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import diffusers
import pytest
import torch

from genuq import files
from genuq.errors import ConfigurationError
from genuq.models import to_unit
from genuq.pipeline.columns import SPENT
from genuq.pipeline.configured import build_sampler, open_model
from genuq.pipeline.preflight import DirectSamplingWarning, check_settings
from genuq.pipeline.run import Run
from genuq.pipeline.stage import STAGES
from genuq.pipeline.stages.sample import read_samples
from genuq.report.run import RESULTS
from genuq.store.shards import read_shards
from support.plans import planned, to_make
from support.small_pipelines import relative, saved
from support.small_runs import COMMON, EVALUATION, composed, launch

PROMPTS = ["a red cat", "two small blue dogs"]
ASKED = [
    *COMMON,
    *EVALUATION,
    "model=diffusers",
    "data=image_folder",
    "data.image_size=16",
    "likelihood=semantic",
    "metric=efficientnet",
    "metric.allow_shared_extractor=true",
    "metric.reference_images=24",
    "posterior.images=16",
    "posterior.held_out=8",
    "posterior.draws=2",
    "sampler.steps=2",
    "sampler.samples=24",
    "score.controls=[random]",
]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved("stable_diffusion_3", tmp_path_factory.mktemp("saved"))


@pytest.fixture(scope="module")
def asked(pipeline: Path, image_root: Path) -> list[str]:
    return [*ASKED, f"data.root={image_root}", f"model.pretrained={pipeline}"]


@pytest.fixture(scope="module")
def finished(asked: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("run")
    (folder / "prompts.txt").write_text("\n".join(PROMPTS))
    given = [*asked, f"model.prompts={folder}/prompts.txt", "score=lid", "propagator=coherent", "propagator.draws=2"]
    launch(folder, *given)
    return folder, given


def test_samples_are_the_pipelines_own(finished: tuple[Path, list[str]], pipeline: Path) -> None:
    folder, given = finished
    run = Run(composed(*given, f"store={folder}/store"), folder, "genuq")
    model, sampler = open_model(run), build_sampler(run)
    assert sampler.guidance_scale == 7.0 and sampler.steps == 2
    pipe = diffusers.StableDiffusion3Pipeline.from_pretrained(str(pipeline), use_safetensors=True)
    noise = sampler.initial_noise(model, [0, 1])
    theirs = pipe(PROMPTS, latents=noise, num_inference_steps=2, output_type="pt", height=16, width=16).images
    samples = read_samples(folder / "sample")
    assert samples["class"].tolist()[:3] == [2, 3, 2]
    assert relative(to_unit(samples["image"][:2]), theirs.float()) < 1e-5


def test_the_report_calls_samples_by_their_prompts(finished: tuple[Path, list[str]]) -> None:
    results = json.loads((finished[0] / "report" / RESULTS).read_text())
    assert results["data"]["class_names"] == ["bottom", "top", *PROMPTS]
    assert results["sampler"]["guidance_scale"] == 7.0
    table = results["samples"]
    shown = {row[table["columns"].index("prompt")] for row in table["rows"]}
    assert PROMPTS[0] in shown <= set(PROMPTS)


def test_a_plan_knows_what_is_there_and_reads_no_weight(
    finished: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, given = finished
    monkeypatch.setattr(files, "sha256_of_folder", None)
    monkeypatch.setattr(diffusers.DiffusionPipeline, "from_pretrained", None)
    monkeypatch.chdir(folder)
    there = planned(capsys, *given, f"store={folder}/store")
    made_anew = {stage for stage, count in to_make(there).items() if count}
    assert made_anew <= {"report"} and there["weights_not_read"] == []  # the report shows the command, another one here
    new = planned(capsys, *given, f"store={folder}/other")
    columns = read_shards(folder / "sample")
    spent = {name: float(value.sum()) for name, value in columns.items() if name.startswith(SPENT)}
    assert new["stages"]["sample"]["evaluations"] == sum(spent.values())
    assert new["stages"]["sample"]["bytes"] == pytest.approx(there_bytes(folder / "sample"), rel=0.03)
    assert "the weights" not in str(new["jobs"]) and len(new["weights_not_read"]) == 1


def there_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.resolve().rglob("*") if path.is_file())


def test_finished_again_it_is_reused_wherever_the_pipeline_lies(
    finished: tuple[Path, list[str]], pipeline: Path, tmp_path: Path
) -> None:
    folder, given = finished
    pipeline.rename(tmp_path / "moved")
    try:
        elsewhere = [each for each in given if "pretrained" not in each]
        config = composed(*elsewhere, f"model.pretrained={tmp_path}/moved", f"store={folder}/store")
        run = Run(config, folder, "genuq")
        assert all(STAGES[name].folder(run).is_current() for name in ("fit", "sample", "probe", "score"))
    finally:
        (tmp_path / "moved").rename(pipeline)


def settings_of(asked: list[str], folder: Path, *more: str) -> Run:
    return Run(composed(*asked, *more, f"store={folder}/store"), folder, "genuq")


def test_steps_and_guidance_are_the_pipelines_unless_given(asked: list[str], tmp_path: Path) -> None:
    run = settings_of([each for each in asked if "steps" not in each], tmp_path, "sampler.guidance_scale=1.5")
    assert (build_sampler(run).steps, build_sampler(run).guidance_scale) == (28, 1.5)


@pytest.fixture()
def clipping(tmp_path: Path, asked: list[str]) -> list[str]:
    folder = saved("unet2d", tmp_path / "clip")
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"clip_sample": True}))
    rest = [each for each in asked if not each.startswith("model.pretrained")]
    return [*rest, f"model.pretrained={folder}", "data.image_size=8"]


def test_a_scheduler_that_clips_is_named_before_long_work(clipping: list[str], tmp_path: Path) -> None:
    with pytest.warns(DirectSamplingWarning, match="clip_sample = True"):
        check_settings(settings_of(clipping, tmp_path))
    for more in ("propagator=trajectory", "score=path_disagreement", "score=trajectory_variance"):
        with pytest.raises(ConfigurationError, match="clip_sample = True"):
            check_settings(settings_of(clipping, tmp_path, more))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DirectSamplingWarning)
        for more in ("sampler.directly=true", "model.scheduler.clip_sample=false"):
            check_settings(settings_of(clipping, tmp_path, more))


@pytest.mark.parametrize(
    "more,said",
    [
        (["data.image_size=8"], r"makes samples of shape \(3, 16, 16\)"),
        (["model.prompts=none.txt"], r"model\.prompts = 'none\.txt' cannot be read"),
        (["model.captions=photo"], "has no place for the class"),
        (["sampler.classes=[7]"], "class 7"),
        (["sampler.spacing=uniform_log_snr"], r"sampler\.spacing = 'uniform_log_snr'.* a spacing of its own"),
        (["model=exact_mixture", "data=mixture_d2", "metric=points"], "brings none"),
    ],
)
def test_what_cannot_be_is_refused(asked: list[str], tmp_path: Path, more: list[str], said: str) -> None:
    given = [*asked, *more]
    if "model=exact_mixture" in more:
        given = [*COMMON, *more, "sampler=scheduler", "likelihood=pixel"]
    with pytest.raises(ConfigurationError, match=said):
        check_settings(settings_of(given, tmp_path))


def test_bfloat16_weights_sample_and_fit(asked: list[str], tmp_path: Path) -> None:
    run = settings_of(asked, tmp_path, "model.precision=bfloat16")
    check_settings(run)
    assert {value.dtype for value in open_model(run).network.parameters()} == {torch.bfloat16}
