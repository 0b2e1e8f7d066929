"""The example package `examples/my_lab`, installed as a user installs it: parts of a lab's own beside genuq's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genuq import files
from support.installed import genuq, install, run_tests

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_lab"
PARTS = {
    "data": "discs_and_rings",
    "network": "mixer",
    "posterior": "spectral",
    "likelihood": "low_frequencies",
    "score": "leading_variance",
    "application": "abstain",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package is installed in."""
    target = tmp_path_factory.mktemp("installed") / "site"
    install(target, EXAMPLE)
    return target


def test_the_packages_own_tests_pass(site: Path, tmp_path: Path) -> None:
    done = run_tests(site, tmp_path, str(EXAMPLE / "tests"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_parts_are_listed_behind_genuqs_own(site: Path, tmp_path: Path) -> None:
    found = json.loads(genuq(site, tmp_path, "parts", "--json").stdout)
    assert not found["broken"]
    brought = {
        group: parts[-1]["name"] for group, parts in found["parts"].items() if parts and parts[-1]["from"] != "genuq"
    }
    assert brought == PARTS
    said = genuq(site, tmp_path, "parts", "posterior", "spectral").stdout
    assert "my-lab-genuq 0.1.0: my_lab.spectral:Spectral" in said and str(site) in said
    assert "eigenvectors that are kept" in said and "32" in said


# The pipeline

OPTIONS = [f"{group}={name}" for group, name in PARTS.items() if group != "posterior"]
SMALL = [
    *("model.checkpoint=null", "device=cpu", "seed=1", "data.size=200", "data.pixels=8", "network.width=16"),
    *("network.depth=1", "trainer.steps=5", "trainer.judge_steps=5", "trainer.batch_size=16", "posterior.images=60"),
    *("posterior.held_out=30", "posterior.batch_size=10", "posterior.draws=2", "likelihood.frequencies=4"),
    *("score.also=[entropy]", "score.controls=[random]", "sampler.steps=3", "sampler.samples=40"),
    *("sampler.batch_size=20", "metric.reference_images=40", "metric.k=3", "metric.bins=4", "metric.bootstrap=20"),
    *("metric.half_samples=4", "metric.random_repeats=3", "application.budget=0.9"),
]
STAGES = "train,judge,fit,sample,embed,score,evaluate,apply"
TWO_PROCESSES = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]
SWEEP = ["-m", *OPTIONS, *SMALL, f"stages=[{STAGES}]", "study=lab", "posterior=spectral,exact_laplace"]


def succeeded(site: Path, folder: Path, *arguments: str) -> str:
    """What the command printed."""
    done = genuq(site, folder, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def alone(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in one process, with its page."""
    root = tmp_path_factory.mktemp("alone")
    succeeded(site, root, *OPTIONS, "posterior=spectral", *SMALL, f"stages=[{STAGES},report]", "name=one")
    return root


@pytest.fixture(
    scope="module", params=[pytest.param(count, marks=pytest.mark.slow) for count in (1, 2)], ids="{}-process".format
)
def swept(
    request: pytest.FixtureRequest, site: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A study of the lab's posterior and one of genuq's, in one process a job or two; and the plan of it."""
    root = tmp_path_factory.mktemp("swept")
    sweep = [*SWEEP, *(TWO_PROCESSES if request.param == 2 else [])]
    plan = json.loads(succeeded(site, root, "plan", "--no-calibration", "--json", *sweep))
    assert not (root / "outputs" / "store").exists()
    succeeded(site, root, *sweep)
    return root, plan


def test_a_run_of_the_labs_own_parts_and_its_page(alone: Path) -> None:
    results = json.loads((alone / "outputs" / "one" / "report" / "results.json").read_text())
    page = (alone / "outputs" / "one" / "report" / "index.html").read_text()
    assert {"leading_variance", "entropy", "random"} <= {score["name"] for score in results["scores"]}
    for label in ("Leading variance", "Spectral Laplace", "Abstain", "Generative uncertainty", "discs_and_rings"):
        assert label in page, label
    outcome = json.loads((alone / "outputs" / "one" / "apply" / "application.json").read_text())
    assert outcome["name"] == "abstain" and outcome["control"] == "any of the other half's samples"


def test_a_sweep_fits_what_a_run_in_one_process_fits(alone: Path, swept: tuple[Path, dict[str, Any]]) -> None:
    folder = swept[0] / "outputs" / "sweeps" / "lab" / "posterior=spectral"
    one, two = (
        files.read_tensors(place / "fit" / "posterior.safetensors")[0] for place in (alone / "outputs" / "one", folder)
    )
    for name, value in one.items():
        scale = float(value.double().abs().max())
        assert float((two[name].double() - value.double()).abs().max()) <= 1e-3 * scale, name


def test_the_plan_counts_them(swept: tuple[Path, dict[str, Any]]) -> None:
    plan = swept[1]
    assert [job["error"] for job in plan["jobs"]] == [None, None]
    assert {stage: plan["stages"][stage]["to_make"] for stage in ("train", "fit", "sample", "evaluate")} == {
        "train": 1,
        "fit": 2,
        "sample": 2,
        "evaluate": 2,
    }


def test_the_studys_page_and_table_show_them_beside_genuqs_own(site: Path, swept: tuple[Path, dict[str, Any]]) -> None:
    root, _ = swept
    succeeded(site, root, "study", "lab")
    page = (root / "outputs" / "studies" / "lab" / "index.html").read_text()
    assert all(label in page for label in ("spectral", "exact_laplace", "Leading variance", "Generative uncertainty"))
    study = root / "experiments" / "lab"
    study.mkdir(parents=True)
    words = " ".join(SWEEP)
    measures = "[leading_variance/auroc, entropy/auroc]"
    (study / "study.yaml").write_text(
        f'title: Lab\nquestion: Which?\ncommand: "genuq {words}"\nrows: [posterior]\nmeasures: {measures}\n'
    )
    table = succeeded(site, root, "table", "experiments/lab", "--no-figures")
    assert "Spectral Laplace" in table and "Exact Laplace" in table and "Leading variance" in table
