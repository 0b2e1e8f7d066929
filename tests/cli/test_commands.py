"""The command and its sub-commands: what is typed, how mistakes end, and how fast it starts."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from genuq.cli import help, main
from genuq.cli.commands import ALIASES, COMMANDS
from genuq.config.compose import config_directory
from support.programs import COMMAND, program
from support.programs import environment as known

ROOT = Path(__file__).parents[2]
POINTS = [
    *("experiment=toy", "stages=[train,fit,sample]", "device=cpu", "network.width=16", "data.size=400"),
    *("trainer.steps=5", "trainer.batch_size=32", "posterior.images=100", "posterior.held_out=50"),
    *("sampler.steps=2", "sampler.samples=40", "metric.reference_images=40", "metric.k=3", "metric.bins=4"),
    *("metric.bootstrap=20", "metric.half_samples=4", "metric.random_repeats=3"),
]


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`genuq` with these arguments, in a process of its own."""
    code = f"import sys; sys.argv[0] = 'genuq'; {COMMAND}"
    return program(code, *arguments, folder=folder, variables=known() | environment)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_a_module(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_module(COMMANDS[name].module).main and f"\n  genuq {name} " in help.text([config_directory()])
    if name == "run":
        assert main.subcommand("run", ["--help"]) == 0
    else:
        with pytest.raises(SystemExit) as ended:
            main.subcommand(name, ["--help"])
        assert ended.value.code == 0
    assert "genuq" in capsys.readouterr().out.splitlines()[0]


def test_the_programs_are_aliases_of_commands() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for name in ALIASES:
        assert f'genuq-{name} = "genuq.cli.main:{name}"' in text and callable(getattr(main, name))


def test_help_waits_for_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys; from genuq.cli.main import subcommand; subcommand('run', ['--help'])\n"
        "subcommand('run', ['--version'])\n"
        "print({'torch', 'lightning', 'matplotlib', 'scipy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert found.stdout.splitlines()[-1] == "set()", found.stderr


@pytest.mark.slow
def test_the_shell_completes_groups_options_and_keys(tmp_path: Path) -> None:
    def completed(line: str) -> list[str]:
        return command(tmp_path, "-sc", "query=bash", COMP_LINE=line).stdout.split()

    assert completed("genuq posterior=k") == ["posterior=kfac"]
    assert completed("genuq run model=d") == ["model=ddpm"]
    assert "complete -o nospace" in command(tmp_path, "-sc", "install=bash").stdout


def test_run_is_implied_and_the_configuration_can_be_asked_for(tmp_path: Path) -> None:
    said = [command(tmp_path, *words, "--cfg", "job", "experiment=mixture").stdout for words in ([], ["run"])]
    assert said[0] == said[1] and yaml.safe_load(said[0])["data"]["modes"] == 25


@pytest.mark.slow
def test_ones_own_options_in_a_run_a_sweep_a_plan_a_launcher_and_two_processes(tmp_path: Path) -> None:
    for group in ("posterior", "experiment"):
        (tmp_path / "own" / group).mkdir(parents=True)
    option = tmp_path / "own" / "posterior" / "mine.yaml"
    option.write_text("defaults: [exact_laplace, _self_]\ntemperature: 2.0\n")
    text = "# @package _global_\ndefaults: [mixture, {override /posterior: mine}]\nname: toy\n"
    (tmp_path / "own" / "experiment" / "toy.yaml").write_text(text)

    def said(*arguments: str) -> str:
        found = command(tmp_path, *arguments)
        assert found.returncode == 0, found.stderr
        return found.stdout

    def temperature(folder: str) -> float:
        return yaml.safe_load((tmp_path / "outputs" / folder / "config.yaml").read_text())["posterior"]["temperature"]

    said("--config-dir=own", *POINTS)
    assert temperature("toy") == 2.0
    sweep = ("-m", "--config-dir", "own", *POINTS, "seed=0,1")
    said(*sweep)
    assert "all 2 jobs were finished before" in said(*sweep)
    assert "2 jobs" in said("plan", "--no-calibration", *sweep)
    option.write_text("defaults: [exact_laplace, _self_]\ntemperature: 3.0\n")
    assert "finished before" not in said(*sweep) and temperature("sweeps/toy/seed=1") == 3.0
    globbed = ("study=both", "posterior=glob([mine,exact*])", "hydra.searchpath=[file://own]")
    said("-m", *POINTS, *globbed, "hydra/launcher=joblib")
    assert temperature("sweeps/both/posterior=mine") == 3.0
    said("-cd", "own", *POINTS, "name=two", "trainer=ddp", "trainer.accelerator=cpu")
    assert temperature("two") == 3.0
