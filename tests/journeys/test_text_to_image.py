"""Text to image: a small pipeline with two prompts through the evaluation, the page and every application."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import torch
import transformers
from rich.console import Console

from genuq import machine
from genuq.analysis.evaluation_entries import read_evaluation
from genuq.analysis.numbers import numbers_of
from genuq.display import Display
from genuq.errors import ConfigurationError
from genuq.models import to_bytes
from genuq.pipeline.memory import Memory
from genuq.pipeline.preflight import check_settings
from genuq.pipeline.run import Run
from genuq.pipeline.stage import STAGES
from genuq.pipeline.stages.apply import read_application
from genuq.pipeline.stages.sample import read_samples
from genuq.report.run import RESULTS
from support.small_pipelines import saved, saved_clip
from support.small_runs import COMMON, EVALUATION, composed

PROMPTS = ["a red cat", "two small blue dogs on a big green hill and the image <b>user</b> system ugly and small"]
ASKED = [
    *COMMON,
    *EVALUATION,
    "model=diffusers",
    "data=image_folder",
    "data.image_size=16",
    "likelihood=pixel",
    "metric=efficientnet",
    "metric.reference_images=24",
    "posterior.images=16",
    "posterior.held_out=8",
    "posterior.draws=2",
    "sampler.steps=4",
    "sampler.samples=24",
    "score.controls=[random]",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run")
    (place / "prompts.txt").write_text("\n".join(PROMPTS))
    return place


@pytest.fixture(scope="module")
def asked(folder: Path, image_root: Path) -> list[str]:
    pipeline, clip = saved("stable_diffusion_3", folder / "pipeline"), saved_clip(folder / "clip")
    return [
        *ASKED,
        f"data.root={image_root}",
        f"model.pretrained={pipeline}",
        f"metric.prompt_model={clip}",
        f"model.prompts={folder}/prompts.txt",
        f"store={folder}/store",
    ]


MEMORY = Memory()  # the pipeline is loaded once for all runs here


def settings_of(asked: list[str], folder: Path, *more: str) -> Run:
    return Run(composed(*asked, *more), folder, "genuq", memory=MEMORY)


def make(run: Run) -> None:
    machine.prepare()
    run.folder.mkdir(exist_ok=True)
    check_settings(run)
    for name in run.config.stages:
        if STAGES[name].applies(run):
            STAGES[name].execute(run, Display(Console(quiet=True)))


@pytest.fixture(scope="module")
def finished(folder: Path, asked: list[str]) -> Path:
    make(settings_of(asked, folder / "run"))
    return folder / "run"


def test_clip_score_is_that_of_the_model_itself(finished: Path, folder: Path) -> None:
    evaluation, samples = read_evaluation(finished / "evaluate"), read_samples(finished / "sample")
    model = transformers.CLIPModel.from_pretrained(str(folder / "clip")).eval()
    processor = transformers.CLIPProcessor.from_pretrained(str(folder / "clip"))
    images = list(to_bytes(samples["image"]))
    given = processor(text=PROMPTS, images=images, return_tensors="pt", padding=True, truncation=True, max_length=12)
    with torch.no_grad():
        logits = model(**given).logits_per_image / model.logit_scale.exp()
    own = logits[torch.arange(24), samples["class"] - 2].clamp_min(0) * 100
    assert evaluation.samples.column("clip_score") == pytest.approx(own.tolist(), abs=1e-3)
    assert evaluation.samples.column("prompt")[:3] == [PROMPTS[0], PROMPTS[1], PROMPTS[0]]
    found = numbers_of(evaluation)
    assert found["clip_score"] == pytest.approx(float(own.mean()), abs=1e-3)
    assert found["clip_score_low"] <= found["clip_score"] <= found["clip_score_high"]


def test_every_score_is_correlated_with_it(finished: Path) -> None:
    evaluation = read_evaluation(finished / "evaluate")
    for entry in evaluation.scores:
        found = entry.correlation("clip_score", "spearman")
        assert found is not None and found.low <= found.value <= found.high
    assert "entropy/spearman_clip_score" in numbers_of(evaluation)
    assert any("prompts is that of their beginning" in text for text in evaluation.judge.warnings)


def test_the_tables_hold_the_prompts(finished: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((finished / "report" / "results.csv").read_text())))
    assert {row["prompt"] for row in rows} == set(PROMPTS)
    results = json.loads((finished / "report" / RESULTS).read_text())
    assert results["prompts"]["count"] == 2 and results["prompts"]["beyond_data"] is True


CUT = "application.cut=0.858"  # a time of this scheduler's
APPLICATIONS = {
    "best_of_n": ["application.n=3"],
    "filter": ["application.fraction=0.5"],
    "augment": ["application.samples=4", "application.candidates=2"],
    "guide": ["application.samples=8", "application.renoisings=2"],
    "rectify": ["application.rule=score", "application.failed_by=score", "application.candidates=2", CUT],
}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_applications_run_on_prompts(name: str, finished: Path, asked: list[str]) -> None:
    make(settings_of(asked, finished, f"application={name}", *APPLICATIONS[name], "stages=[apply]"))
    found = read_application(finished / "apply")
    measures = {row.measure for row in found.outcome}
    assert found.sentence and measures >= ({"realism_gain"} if name == "rectify" else {"realism", "clip_score"})
    if name == "augment":  # whose cut, the default, is no time of this grid
        assert (found.settings["cut"], found.settings["cut_taken"]) == (0.8, pytest.approx(0.858, abs=1e-3))
        assert found.notes[0].startswith("The cut t = 0.8 is no time of the sampler's grid: the nearest one, 0.857")
        assert found.notes[0] in (finished / "apply" / "application.md").read_text()
    else:
        assert "cut_taken" not in found.settings


def test_best_of_n_chooses_among_the_samples_of_one_prompt(finished: Path, asked: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=r"application\.n = 13, but no class has more than 12 of 24"):
        check_settings(settings_of(asked, finished, "application=best_of_n", "application.n=13"))


@pytest.mark.parametrize(
    "more,said",
    [
        (["application=rectify"], r"model\.prompts asks for what is no class of data\.name.*failed_by to score"),
        (["metric.prompt_model=someone/else"], r"metric\.prompt_model = 'someone/else'.*metric\.download=true"),
        (["metric.prompt_model=nowhere"], r"metric\.prompt_model = 'nowhere' is no folder"),
    ],
)
def test_what_cannot_be_is_refused(asked: list[str], folder: Path, more: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        check_settings(settings_of(asked, folder, *more))


def test_a_model_without_prompts_has_no_clip_score(asked: list[str], folder: Path, tmp_path: Path) -> None:
    rest = [each for each in asked if not each.startswith(("model.pretrained", "model.prompts"))]
    given = [*rest, f"model.pretrained={saved('unet2d', tmp_path / 'saved')}", "data.image_size=8"]
    with pytest.raises(ConfigurationError, match=r"metric\.prompt_model = .* has none"):
        check_settings(settings_of(given, folder))
