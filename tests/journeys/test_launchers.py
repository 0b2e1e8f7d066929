"""Sweeps whose jobs run elsewhere: what each launcher is told, and that jobs which share a store share the work."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from genuq.config import plugins, schemas
from genuq.config.compose import check_overrides, config_directory
from genuq.errors import ConfigurationError
from genuq.store.records import read_records
from genuq.store.store import Store
from support.programs import command
from support.small_runs import POINTS

ROOT = Path(__file__).parents[2]
SAMPLES = [*POINTS, "sampler.samples=3,40,30"]  # three are too few to judge; the other two jobs share training and fit


def times(text: str, pattern: str) -> int:
    return len(re.findall(pattern, text, flags=re.MULTILINE))


def launcher(name: str, *more: str) -> DictConfig:
    schemas.register()
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        config = compose("config", overrides=[f"hydra/launcher={name}", *more], return_hydra_config=True)
    return config.hydra.launcher


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    root = tmp_path_factory.mktemp("joblib")
    return root, command(root, "-m", *SAMPLES, "hydra/launcher=joblib")


@pytest.mark.slow
def test_jobs_at_once_make_what_they_share_once(swept: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    root, finished = swept
    for stage, made in {"train": 1, "fit": 1, "sample": 2, "evaluate": 2}.items():
        assert times(finished.stdout, rf"^{stage}: [\d.]+ s$") == made, finished.stdout + finished.stderr
        assert len([*(root / "outputs" / "store" / stage).iterdir()]) == made
    assert {path.name for path in (root / "outputs").iterdir()} == {"sweeps", "store"}


@pytest.mark.slow
def test_a_job_that_fails_elsewhere_ends_the_command_in_failure_and_no_other_job(
    swept: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    root, finished = swept
    assert finished.returncode == 1 and "Traceback" not in finished.stderr
    assert "3 samples are too few to judge" in finished.stderr
    assert "sampler.samples=3" in finished.stderr
    assert len([*(root / "outputs" / "sweeps" / "mixture").glob("*/evaluate/evaluation.json")]) == 2


@pytest.mark.slow
def test_jobs_elsewhere_know_what_was_typed(swept: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    for record in read_records(swept[0] / "outputs" / "store"):
        assert "-m" in record.command.split() and "sampler.samples=3,40,30" in record.command


@pytest.mark.slow
def test_submitit_runs_jobs_in_processes_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    finished = command(tmp_path, "-m", *POINTS, "seed=0", "hydra/launcher=submitit_local")
    assert finished.returncode == 0, finished.stderr
    sweep = tmp_path / "outputs" / "sweeps" / "mixture"
    assert len([*sweep.glob("*/evaluate/evaluation.json")]) == 1
    (output,) = (sweep / ".submitit").rglob("*_log.out")
    assert times(output.read_text(), r"^evaluate: [\d.]+ s$") == 1


def test_slurm_is_asked_for_the_trainers_processes_and_to_queue_the_job_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch script that submitit writes of our configuration, as the launcher hands it on."""
    submitit = pytest.importorskip("submitit")
    for tool in ("srun", "sbatch"):
        (tmp_path / tool).write_text("#!/bin/sh\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    config = launcher("submitit_slurm", "trainer=ddp", "trainer.devices=4", "trainer.num_nodes=2", "name=x")
    given = {key: value for key, value in config.items() if key not in ("_target_", "submitit_folder")}
    executor = submitit.AutoExecutor(tmp_path, cluster="slurm", slurm_max_num_timeout=given.pop("max_num_timeout"))
    shared = {"timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name"}
    executor.update_parameters(**{k if k in shared else f"slurm_{k}": plain(v) for k, v in given.items()})
    script = executor._executor._make_submission_file_text("run", "0")
    for line in ("requeue", "nodes=2", "ntasks-per-node=4", "signal=USR2@120", "time=240", "job-name=genuq"):
        assert f"\n#SBATCH --{line}\n" in script, script
    assert executor._executor.max_num_timeout == 100


def plain(value: object) -> object:
    return dict(value) if isinstance(value, DictConfig) else value


@pytest.mark.slow
def test_ray_runs_jobs(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    finished = command(tmp_path, "-m", *POINTS, "seed=0,1", "hydra/launcher=ray")
    assert finished.returncode == 0, finished.stderr
    assert len([*(tmp_path / "outputs" / "sweeps" / "mixture").glob("*/evaluate/evaluation.json")]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("option", ["joblib", "submitit_local", "ray"])
def test_jobs_that_know_nothing_of_each_other_make_one_run_together(option: str, tmp_path: Path) -> None:
    plugin, _ = plugins.EXTRAS[f"hydra/launcher={option}"]
    pytest.importorskip(plugin)
    finished = command(tmp_path, "-m", *POINTS, "sampler.batch_size=2", "worker=range(0,2)", f"hydra/launcher={option}")
    assert finished.returncode == 0, finished.stderr
    store, sweep = tmp_path / "outputs" / "store", tmp_path / "outputs" / "sweeps" / "mixture"
    for stage in ("train", "fit", "sample", "embed", "evaluate"):
        assert len([*(store / stage).iterdir()]) == 1
        assert len({path.resolve() for path in sweep.glob(f"worker=*/{stage}")}) == 1
    assert len([*sweep.glob("worker=*/evaluate/evaluation.json")]) == 2
    assert len(read_records(store)) == 1 and not Store(store).broken()


@pytest.mark.parametrize("option", plugins.EXTRAS)
def test_a_plugin_that_is_not_installed_is_named_with_its_extra_before_any_work(
    option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "find_spec", lambda module: None)
    _, extra = plugins.EXTRAS[option]
    with pytest.raises(ConfigurationError, match=rf"^{option} needs .*pip install 'genuq\[{extra}\]'"):
        check_overrides(["-m", *POINTS, option])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    package = plugins.EXTRAS[option][0].removeprefix("hydra_plugins.").replace("_", "-")
    assert any(requirement.startswith(package) for requirement in project["optional-dependencies"][extra])


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "hydra" / "launcher").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_launcher_can_be_composed_and_has_its_extra(path: Path) -> None:
    assert launcher(path.stem)._target_.startswith("hydra_plugins.")
    assert f"hydra/launcher={path.stem}" in plugins.EXTRAS


def test_no_launcher_is_loaded_by_a_plain_run() -> None:
    """The composition of a run touches none of them; what Hydra itself scans imports neither joblib nor submitit."""
    code = (
        "import sys; from genuq.config.compose import check_overrides; from genuq.config import schemas\n"
        "schemas.register(); check_overrides([])\n"
        "print({'submitit', 'optuna', 'ray', 'joblib', 'lightning'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True)
    assert found.stdout.strip() == "set()"


def test_folders_are_named_by_jobs_not_by_the_clock() -> None:
    for text in (path.read_text() for path in (ROOT / "conf").rglob("*.yaml")):
        assert "${now" not in text
