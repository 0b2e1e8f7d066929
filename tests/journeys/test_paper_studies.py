"""The papers' studies at full scale: every job is planned, and nothing is missing but files that errors name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from genuq.config import schemas
from genuq.config.compose import configurations
from genuq.config.job import Job
from genuq.config.sweeps import sweep_of
from genuq.extractors.base import WeightsUnavailableError
from genuq.planning.plan import Plan, plan_of_jobs
from genuq.studies.declaration import Study, read_study
from genuq.studies.grid import StudyJob, words_of
from support import paper_files

ROOT = Path(__file__).parents[2] / "experiments"
JOBS = {  # with all seeds, with one
    "diff_uq_table1": (6, 2),
    "diff_uq_ablations": (17, 17),
    "diff_uq_flow": (6, 2),
    "bayesdiff_table1": (24, 8),
    "bayesdiff_skip": (24, 8),
    "bayesdiff_text_to_image": (12, 4),
}
STUDIES = tuple(JOBS)
STAND_IN = {  # it has 14,000 images of ImageNet, of which a released subset is one of two
    "posterior.images=25623": ["posterior.images=6400"],
    "data.released=bayesdiff": ["data.released=bayesdiff", "data.released_every=2"],
}
CAPTIONED = ("diff_uq_flow", "bayesdiff_text_to_image")
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
    (folder / "prompts.txt").write_text("a red cat\n")
    return folder


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configured(commands: Iterable[str]) -> Iterator[tuple[DictConfig, Path, Job]]:
    for command in commands:
        given = [part for word in words_of(command)[1:] for part in STAND_IN.get(word, [word])]
        ((words, config),) = configurations(given)
        yield config, Path("outputs") / config.name, Job(overrides=words)


def plan(jobs: Iterable[StudyJob]) -> Plan:
    """Of these jobs, which share what they have in common."""
    return plan_of_jobs(configured(job.command for job in jobs))


def first_of(study: Study, *keys: str) -> list[StudyJob]:
    """The first job of each combination of these keys."""
    found: dict[Any, StudyJob] = {}
    for job in study.jobs:
        found.setdefault(tuple(dict(job.settings).get(key) for key in keys), job)
    return list(found.values())


@pytest.mark.parametrize("name", STUDIES)
def test_no_two_commands_of_a_study_put_their_runs_into_one_folder(name: str) -> None:
    sweeps = [sweep_of(words_of(command)[1:]) for command in read_study(ROOT / name).commands]
    folders = [(sweep.folder, sweep.job_name(job)) for sweep in sweeps if sweep for job in sweep.jobs or []]
    assert len(set(folders)) == len(folders) >= JOBS[name][0]


@pytest.mark.parametrize("name", STUDIES)
def test_with_its_files_every_job_composes(name: str, brought: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that differ in their seed alone are planned once."""
    monkeypatch.chdir(brought)
    paper_files.encoders_without_weights(monkeypatch)
    study = read_study(ROOT / name)
    jobs = first_of(study, *study.rows, *filter(None, [study.columns]))
    found = plan(jobs)
    assert [job.error for job in found.jobs if job.error] == []
    assert (len(study.jobs), len(found.jobs)) == JOBS[name]
    made = [one.work.forward for one in found.of_stage("sample")]
    if name == "diff_uq_table1":  # U-ViT is guided
        assert made == [SAMPLES * VERSIONS * STEPS, 2 * SAMPLES * VERSIONS * STEPS] == [3_609_600, 7_219_200]
    if name == "diff_uq_ablations":  # by draws, steps and the posterior's scale; all else is made of these
        assert sum(made) == SAMPLES * (STEPS * (3 + 6 + 11 + 21) + VERSIONS * (10 + 25 + 100) + 4 * 300) == 48_849_920
    if name == "diff_uq_flow":
        assert made == 2 * [5000 * 16 * 28 * 2] == 2 * [4_480_000]


@pytest.mark.parametrize("name", STUDIES)
def test_whatever_is_missing_is_named_with_where_it_is_from(
    name: str, brought: Path, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = read_study(ROOT / name)
    data = "coco" if name in CAPTIONED else "imagenet"
    jobs = first_of(study, "experiment", "model.preset")
    for job in plan(jobs).jobs:
        assert f"image folder {data} does not exist" in str(job.error) or "save_pretrained" in str(job.error)
    os.symlink(brought / data, empty / data)
    for job in plan(jobs).jobs:
        sources = ("guided-diffusion", "baofff/U-ViT", "model.download=true")
        assert any(source in str(job.error) for source in sources), job
    if name.startswith("bayesdiff"):  # they ask for no encoder of the hub
        return
    os.symlink(brought / "weights", empty / "weights")
    monkeypatch.setattr("genuq.extractors.pretrained._published", _no_hub)
    for job in plan(jobs).jobs:
        assert "hf download" in str(job.error), job


def _no_hub(model: str, repository: str | None) -> Path:
    raise WeightsUnavailableError(f"{model}: run `hf download {repository}`")
