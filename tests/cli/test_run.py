"""`genuq run`: flags anywhere, mistakes with their remedies."""

from __future__ import annotations

import re

import pytest

from genuq.cli import main, run


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["stor", "list"], "'stor' is neither a command nor an override.*Did you mean 'store'"),
        (["--config-name", "mine"], "--config-name mine: .*--config-dir DIR experiment=NAME"),
        (["--config-path=conf"], "--config-path conf: "),
        (["--experimental-rerun", "job.pickle"], "pickled"),
        (["posterior=kfac,swag"], "add -m"),
        (["--config-dir", "nowhere"], "there is no folder .*nowhere"),
        (["-m", "seed=0,1", "posterior.temperature=range(0.5,0.9,0.1)"], "=0.5,0.6,0.7,0.8"),
    ],
)
def test_a_mistake_ends_with_status_2_and_its_remedy(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.subcommand("run", arguments) == main.REFUSED
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert re.search(named, said)


def test_flags_stand_before_between_and_after_overrides() -> None:
    chosen = run.parser().parse_intermixed_args(["seed=0,1", "-m", "model=ddpm", "--config-dir", "a", "-cd", "b"])
    assert chosen.overrides == ["seed=0,1", "model=ddpm"] and chosen.config_dir == ["a", "b"] and chosen.multirun
    assert run.flags_of(chosen) == ["-m"]
    chosen = run.parser().parse_intermixed_args(["--cfg", "job", "seed=1", "-p", "model", "--resolve"])
    assert run.flags_of(chosen) == ["--cfg", "job", "--package", "model", "--resolve"]
    assert run.flags_of(run.parser().parse_intermixed_args(["--info"])) == ["--info", "all"]
