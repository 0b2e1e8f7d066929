"""The papers' studies at full scale: every job is planned, and nothing is missing but files that errors name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genuq.config import schemas
from genuq.extractors.base import WeightsUnavailableError
from genuq.planning.plan import Plan, plan_of
from genuq.studies.declaration import Study, read_study
from genuq.studies.grid import words_of
from support import paper_files

ROOT = Path(__file__).parents[2] / "experiments"
JOBS = {
    "diff_uq_table1": 6,
    "diff_uq_ablations": 17,
    "diff_uq_flow": 6,
    "bayesdiff_table1": 24,
    "bayesdiff_skip": 24,
    "bayesdiff_text_to_image": 12,
}
STUDIES = tuple(JOBS)
CAPTIONED = ("diff_uq_flow", "bayesdiff_text_to_image")
# the stand-in of ImageNet has 14,000 training images, of which a released subset is one in so many
FEWER = ["data.released_every=2", "posterior.images=6400"]
MORE = {"bayesdiff_table1": FEWER, "bayesdiff_skip": FEWER}
SAMPLES, VERSIONS, STEPS = 12032, 6, 50


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    schemas.register()


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the studies' files are called."""
    folder = tmp_path_factory.mktemp("brought")
    paper_files.imagenet(folder / "imagenet")
    paper_files.weights(folder / "weights")
    paper_files.captioned(folder / "coco")
    paper_files.stable_diffusion_3(folder / "weights" / "stable_diffusion_3_medium", folder)
    paper_files.stable_diffusion(folder / "weights" / "stable_diffusion_v1_5", folder)
    paper_files.clip(folder / "weights" / "clip_vit_base_patch32", folder)
    return folder


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plans(study: Study, *more: str) -> Iterator[Plan]:
    """Of each command; what is given anew stands in place of what the command says."""
    anew = tuple(f"{word.partition('=')[0]}=" for word in more)
    for command in study.commands:
        kept = [word for word in words_of(command)[1:] if not word.startswith(("-", *anew))]
        yield plan_of([*kept, *more], True, command)


def errors(study: Study) -> set[str]:
    """Of one seed: all seeds read the same files."""
    return {str(job.error) for plan in plans(study, "seed=0") for job in plan.jobs}


@pytest.mark.parametrize("name", STUDIES)
def test_with_its_files_every_job_composes(name: str, brought: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(brought)
    paper_files.encoders_without_weights(monkeypatch)
    study = read_study(ROOT / name)
    found = list(plans(study, *MORE.get(name, ())))
    assert [job.error for plan in found for job in plan.jobs if job.error] == []
    assert len(study.jobs) == JOBS[name] and sum(len(plan.jobs) for plan in found) >= JOBS[name]
    if (
        name == "diff_uq_ablations"
    ):  # by draws, by steps, and by the posterior's scale; all else is made of these samples
        made = {path: one.work.forward for plan in found for path, one in plan.needed.items() if one.stage == "sample"}
        assert sum(made.values()) == SAMPLES * (STEPS * (3 + 6 + 11 + 21) + VERSIONS * (10 + 25 + 100) + 4 * 300)
    if name == "diff_uq_table1":
        of: Any = {str(one.run.config.name): one.work.forward for one in found[0].of_stage("sample")}
        assert of["diff_uq_adm"] == SAMPLES * VERSIONS * STEPS == 3_609_600
        assert of["diff_uq_uvit"] == 2 * SAMPLES * VERSIONS * STEPS, "guided"


@pytest.mark.parametrize("name", STUDIES)
def test_whatever_is_missing_is_named_with_where_it_is_from(
    name: str, brought: Path, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = read_study(ROOT / name)
    data = "coco" if name in CAPTIONED else "imagenet"
    for error in errors(study):
        assert f"image folder {data} does not exist" in error or "weights/stable_diffusion" in error, error
    os.symlink(brought / data, empty / data)
    for error in errors(study):
        assert any(source in error for source in ("guided-diffusion", "baofff/U-ViT", "weights/stable_diffusion")), (
            error
        )
    os.symlink(brought / "weights", empty / "weights")
    monkeypatch.setattr("genuq.extractors.pretrained._published", _no_hub)
    for error in errors(study):
        assert "hf download" in error or "inception-2015-12-05.pt" in error, error


def _no_hub(model: str, repository: str | None) -> Path:
    raise WeightsUnavailableError(f"{model}: run `hf download {repository}`")
