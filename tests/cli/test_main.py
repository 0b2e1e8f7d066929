"""The command itself, and the package that is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

import genuq
from genuq import files
from genuq.cli.main import subcommand
from support.programs import COMMAND, program

LONG = "b" * 300
ROOT = Path(__file__).parents[2]
PACKAGE = Path(genuq.__file__).parent
POINTS = [
    "experiment=mixture",
    "stages=[train,fit,sample,embed,score,evaluate]",
    *("device=cpu", "network.width=16", "data.size=400", "trainer.steps=5", "trainer.batch_size=32"),
    *("posterior.images=100", "posterior.held_out=50", "sampler.steps=2", "sampler.samples=40"),
    *("metric.reference_images=40", "metric.k=3", "metric.bins=4", "metric.bootstrap=20"),
    *("metric.half_samples=4", "metric.random_repeats=3"),
]


def genuq_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return program(COMMAND, *arguments, folder=folder)


def test_the_command_is_installed_under_its_name() -> None:
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="genuq")
    assert script.value == "genuq.cli.main:main"


@pytest.mark.parametrize(
    "arguments",
    [
        ["study", LONG],
        ["study", "s", "--store", LONG],
        ["table", LONG],
        ["table", "--scores", LONG, "--out", "tables"],
        ["parts", "new", "posterior", LONG],
        ["run", "--config-dir", LONG, "seed=0"],
        ["run", f"hydra.searchpath=[file://{LONG}]"],
        ["run", f"posterior@beside.{LONG}=kfac"],
    ],
)
def test_a_name_that_no_file_can_have_is_refused(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert subcommand(arguments[0], arguments[1:]) != 0
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "b" * 40 in said.replace("\n", "")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert subcommand("parts", ["new", "posterior", "spectral", "--out", "file/below"]) == 2
    assert capsys.readouterr().err.startswith("error: 'file/below': Not a directory. Give another place.")


def test_a_mistake_in_a_sweep_ends_the_command_before_any_job(tmp_path: Path) -> None:
    finished = genuq_command(tmp_path, "-m", "seed=0,1", "posterior=exact_laplace,diagonal_laplce")
    assert finished.returncode == 2
    assert finished.stderr.startswith(
        "error: posterior=diagonal_laplce: there is no such option. Did you mean 'diagonal"
    )
    assert "Traceback" not in finished.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_sweep_runs_every_job_in_a_folder_of_its_own(tmp_path: Path) -> None:
    finished = genuq_command(tmp_path, "-m", *POINTS, "seed=0,1")
    assert finished.returncode == 0, finished.stderr
    jobs = sorted((tmp_path / "outputs" / "sweeps" / "mixture").glob("*/evaluate/evaluation.json"))
    assert len(jobs) == 2 and jobs[0].read_text() != jobs[1].read_text()


@pytest.mark.slow
def test_a_job_that_fails_ends_neither_the_sweep_nor_in_success(tmp_path: Path) -> None:
    finished = genuq_command(tmp_path, "-m", *POINTS, "posterior.draws=1,2")
    assert finished.returncode == 1
    assert "posterior.draws = 1; at least 2" in finished.stderr and "Traceback" not in finished.stderr
    assert len(list((tmp_path / "outputs" / "sweeps" / "mixture").glob("*/evaluate/evaluation.json"))) == 1


@pytest.mark.slow
def test_a_second_process_trains_along_and_leaves_the_rest_to_the_first(tmp_path: Path) -> None:
    weights = []
    for trainer in (["trainer=cpu"], ["trainer=ddp", "trainer.accelerator=cpu"]):
        (folder := tmp_path / trainer[0]).mkdir()
        finished = genuq_command(folder, *POINTS, *trainer)
        assert finished.returncode == 0, finished.stderr
        assert all(finished.stdout.count(f"\n{stage}: ") == 1 for stage in ("train", "fit", "sample", "evaluate"))
        weights.append(files.read_tensors(folder / "outputs" / "mixture" / "train" / "model.safetensors")[0])
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-3) for name in weights[0])  # as float16


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what it is made of."""
    pytest.importorskip("hatchling")
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=1800)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_configuration_checkpoints_and_the_page(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    conf = {f"genuq/conf/{file.relative_to(ROOT / 'conf')}" for file in (ROOT / "conf").rglob("*.yaml")}
    own = {
        f"genuq/{file.relative_to(PACKAGE)}"
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert len(conf) > 30 and conf <= names
    assert any(name.endswith(".safetensors") for name in own) and any(name.endswith("index.html.j2") for name in own)
    assert own <= names
    assert "hydra_plugins/genuq_search.py" in names and "hydra_plugins/__init__.py" not in names  # others live there


def test_reference_checkpoints_stay_small() -> None:
    sizes = {file.name: file.stat().st_size for file in (PACKAGE / "reference").glob("*.safetensors")}
    assert "classifier_fashion_mnist.safetensors" in sizes and "flow_matching_fashion_mnist.safetensors" in sizes
    assert max(sizes.values()) <= 5_000_000


@pytest.mark.slow
def test_the_wheel_works_outside_the_clone(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere: the configuration is found inside the package."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import genuq; assert genuq.__file__.startswith(sys.argv[1])\n"
        "from genuq.config import schemas; schemas.register()\n"
        "from genuq.config.compose import check_overrides, config_directory\n"
        "check_overrides(['experiment=quickstart']); print(config_directory())\n"
        "genuq.load_reference('flow_matching')"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "site")]
    finished = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=1800)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == str(tmp_path / "site" / "genuq" / "conf")
