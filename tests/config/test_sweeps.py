"""A sweep before Hydra runs it: its name, its folders, its jobs, and when nothing is left to do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from genuq import files
from genuq.config import schemas
from genuq.config.compose import jobs
from genuq.config.sweeps import sweep_of
from genuq.store.records import read_records
from genuq.store.store import Store
from support.small_runs import IMAGES

POSTERIORS = "posterior=exact_laplace,kfac"


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    schemas.register()


def test_a_single_run_is_no_sweep() -> None:
    assert sweep_of(["seed=0", "model=ddpm"]) is None


def test_names_come_from_the_study_the_run_or_what_is_swept() -> None:
    named = {
        "by-study": ["study=by-study", "name=other"],
        "other": ["name=other"],
        "mixture": ["experiment=mixture"],
    }
    for name, overrides in named.items():
        sweep = sweep_of(["-m", POSTERIORS, "seed=0,1", *overrides])
        assert sweep is not None and sweep.name == name and sweep.swept == ("posterior", "seed")
    sweep = sweep_of(["-m", POSTERIORS, "seed=0,1"])
    other = sweep_of(["-m", POSTERIORS, "seed=0,1,2"])
    again = sweep_of(["--multirun", "seed=0,1", POSTERIORS])
    assert sweep and other and again and sweep.name.startswith("posterior-seed-")
    assert sweep.name == again.name.replace("seed-posterior", "posterior-seed") != other.name


def test_folders_are_named_by_what_differs() -> None:
    sweep = sweep_of(["-m", "seed=0,1", "sampler.steps=5", "+posterior@beside.more=kfac"])
    assert sweep is not None
    where, excluded = sweep.arguments([])
    assert where == f"hydra.sweep.dir=outputs/sweeps/{sweep.name}"
    assert "sampler.steps" in excluded and "posterior@beside.more" in excluded and "seed" not in excluded
    assert sweep.arguments(["hydra.sweep.dir=elsewhere"]) == [excluded]
    twice = sweep_of(["-m", "name=one", "seed=3", "seed=0,1"])
    assert twice is not None and "seed" not in twice.arguments([])[1].split("[")[1].rstrip("]").split(",")
    assert sweep.jobs is not None and len(sweep.jobs) == 2


def test_commands_of_one_study_that_have_names_of_their_own_have_folders_of_their_own() -> None:
    sweeps = [
        sweep_of(["-m", "study=table", f"name={name}", "seed=0,1", f"sampler={name}"]) for name in ("ddim", "euler")
    ]
    found = [(sweep.folder, [sweep.job_name(job) for job in sweep.jobs or []]) for sweep in sweeps if sweep]
    folder = Path("outputs/sweeps/table")
    assert found == [(folder, [f"name={name},seed={seed}" for seed in (0, 1)]) for name in ("ddim", "euler")]
    assert all("name" not in sweep.arguments([])[1].split("[")[1].rstrip("]").split(",") for sweep in sweeps if sweep)


MODELS, KINDS = "flow_matching,ddpm,latent_diffusion", "exact_laplace,diagonal_laplace,kfac,isotropic"
LIKELIHOODS = "pixel,semantic,semantic_normalised"


@pytest.mark.slow
def test_a_study_makes_each_artefact_once_and_then_nothing(image_root: Path, tmp_path: Path) -> None:
    """Three models, four posteriors, three likelihoods, two seeds: 72 runs, of which 24 sample."""
    replaced = ("likelihood=", "stages=", "seed=", "trainer.steps=")
    arguments = [
        *("-m", "study=all", f"model={MODELS}", f"posterior={KINDS}", f"likelihood={LIKELIHOODS}", "seed=0,1"),
        *(text for text in IMAGES if not text.startswith(replaced)),
        *(f"data.root={image_root}", "++likelihood.options.image_size=32", "score.controls=[random]"),
        *("trainer.steps=2", "trainer.autoencoder_steps=2", "logger=none"),
        "stages=[train,judge,fit,sample,embed,score,evaluate]",
    ]
    command = [str(Path(sys.executable).with_name("genuq")), *arguments]
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1800)
    assert first.returncode == 0, first.stderr
    store = tmp_path / "outputs" / "store"
    made_of = Counter(artefact.stage for artefact in Store(store).artefacts())
    assert made_of["sample"] == made_of["fit"] == 3 * 4 * 2
    assert made_of["train"] == 3 * 2 and made_of["judge"] == 2
    assert made_of["embed"] == made_of["score"] == made_of["evaluate"] == 72
    records = read_records(store, "all")
    assert len(records) == 72 and len({record.name for record in records}) == 72
    assert all(record.results.numbers for record in records)

    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert second.returncode == 0 and "all 72 jobs were finished before" in second.stdout
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before

    lost = next((store / "evaluate").glob("*/evaluation.json"))
    content = lost.read_bytes()
    shutil.rmtree(lost.parent)
    third = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1800)
    assert third.returncode == 0 and third.stdout.count("finished before") == 71
    assert lost.read_bytes() == content and files.read_json(lost.parent / "manifest.json")["seconds"] > 0


def test_the_jobs_are_those_that_hydra_would_run() -> None:
    found = list(jobs(["seed=0,1", "model=ddpm,flow_matching", "sampler.steps=3"]))
    assert len(found) == 4 and all("sampler.steps=3" in job for job in found)
