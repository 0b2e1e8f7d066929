"""A folder of the user's own options and experiments, wherever configurations are composed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from genuq.cli import help
from genuq.config import schemas
from genuq.config.compose import check_overrides, config_directory, configurations, prepared
from genuq.config.finished import stamp_path
from genuq.config.own_options import option_files, search_path, searched
from genuq.config.sweeps import sweep_of
from genuq.errors import ConfigurationError


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    schemas.register()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a posterior and an experiment; commas and quotes in its name are no trouble."""
    folder = tmp_path / "my, 'own' [options]"
    for group in ("posterior", "experiment"):
        (folder / group).mkdir(parents=True)
    (folder / "posterior" / "mine.yaml").write_text("# Mine. And more.\ndefaults: [kfac, _self_]\ntemperature: 2.0\n")
    text = "# @package _global_\n# Toy.\ndefaults: [mixture, {override /posterior: mine}]\nname: toy\n"
    (folder / "experiment" / "toy.yaml").write_text(text)
    return folder


def test_options_of_ones_own_compose_like_shipped_ones(own: Path) -> None:
    ((_, config),) = configurations(prepared(["experiment=toy", "seed=3"], [own]))
    assert (config.name, config.posterior.name, config.posterior.temperature) == ("toy", "kfac", 2.0)
    assert config.posterior.layers == ["all"]  # of kfac, which it begins with


def test_both_ways_in_are_the_same(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own.parent)
    shutil.copytree(own, "plain")
    flag = prepared(["posterior=mine"], ["plain"])
    assert flag == prepared(["posterior=mine", "hydra.searchpath=[file://plain]"])
    assert search_path(flag) == [f"file://{own.parent}/plain"]
    assert search_path(prepared(["hydra.searchpath=[file://plain]"], [own])) == [
        f"file://{own}",
        f"file://{own.parent}/plain",
    ]


def test_a_sweep_over_ones_own_options_has_a_name_wherever_they_lie(own: Path) -> None:
    sweep = sweep_of(["-m", *prepared(["experiment=toy", "seed=0,1"], [own])])
    assert sweep is not None and sweep.name == "toy" and sweep.options == (own,)
    assert sweep.jobs == [("experiment=toy", "seed=0"), ("experiment=toy", "seed=1")]
    moved = shutil.copytree(own, own.parent / "moved")
    names = [sweep_of(["-m", *prepared(["posterior=mine,kfac"], [folder])]) for folder in (own, moved)]
    assert names[0] is not None and names[1] is not None and names[0].name == names[1].name
    assert names[0].job_name(["posterior=mine", "hydra/launcher=joblib"]) == "posterior=mine"


def test_globs_find_ones_own_options(own: Path) -> None:
    texts = prepared(["posterior=glob([m*,kfac],exclude=mc*)"], [own])
    assert texts[0] == "posterior=choice(kfac,map,mine)"
    assert [job[0] for job, _ in configurations(["-m", *texts])] == [
        f"posterior={name}" for name in ("kfac", "map", "mine")
    ]


def test_an_edited_option_makes_another_job(own: Path) -> None:
    sweep, overrides = Path("outputs/sweeps/toy"), ["experiment=toy", "seed=0"]
    before = stamp_path(own.parent, sweep, overrides, [own])
    (own / "outputs").mkdir()
    (own / "outputs" / "config.yaml").write_text("a: 1\n")  # what runs leave behind is no option
    assert stamp_path(own.parent, sweep, overrides, [own]) == before
    assert before == stamp_path(own.parent, sweep, overrides, [shutil.copytree(own, own.parent / "moved")])
    (own / "posterior" / "mine.yaml").write_text("defaults: [kfac, _self_]\ntemperature: 3.0\n")
    assert stamp_path(own.parent, sweep, overrides, [own]) != before


def test_option_files_are_found_behind_links_that_lead_in_circles(own: Path) -> None:
    shared = own.parent / "shared"
    shared.mkdir()
    (shared / "fast.yaml").write_text("steps: 3\n")
    (own / "trainer").symlink_to(shared)
    (shared / "back").symlink_to(own)
    assert [path.name for path in option_files(own)] == ["toy.yaml", "mine.yaml", "fast.yaml"]


def test_help_lists_ones_own_options(own: Path) -> None:
    said = help.text(searched(prepared([], [own]), config_directory()))
    assert f"\n  {'mine':<{help.COLUMN}} (yours) Mine\n" in said and f"\n  {'toy':<{help.COLUMN}} (yours) Toy\n" in said


def test_mistakes_are_named(own: Path) -> None:
    for texts, folders, named in (
        ([], [own / "nowhere"], "there is no folder"),
        (["hydra.searchpath=own"], [], "a list of folders is needed"),
        (["hydra.searchpath=[pkg://no.such.package]"], [], "there is no folder pkg://no.such.package"),
        (["posterior=mne"], [own], "Did you mean 'mine'"),
        (["posterior=mine", "posterior.tempature=3"], [own], "Did you mean 'temperature'"),
    ):
        with pytest.raises(ConfigurationError, match=named):
            check_overrides(prepared(texts, folders))


def test_a_file_that_would_never_be_read_is_refused(own: Path) -> None:
    (own / "posterior" / "kfac.yaml").write_text("name: kfac\n")
    with pytest.raises(ConfigurationError, match=r"kfac.yaml would never be read.*another name"):
        prepared([], [own])


def test_a_file_that_is_no_yaml_is_named(own: Path) -> None:
    (own / "posterior" / "bad.yaml").write_text("a: [1\n")
    for overrides in (["posterior=bad"], ["posterior=bad", "seed=0,1"]):
        with pytest.raises(ConfigurationError, match=r"bad.yaml"):
            check_overrides(prepared(overrides, [own]))
