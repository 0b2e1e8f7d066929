"""Globs, ranges, names and seeds, as they are typed."""

from __future__ import annotations

import pytest

from genuq.config import schemas
from genuq.config.compose import check_overrides, configurations, require_one_job
from genuq.config.sweeps import sweep_of
from genuq.errors import ConfigurationError


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    schemas.register()


def test_a_glob_is_the_options_that_match() -> None:
    found = [job for job, _ in configurations(["-m", "posterior=glob(*laplace)"])]
    assert found == [(f"posterior={name}_laplace",) for name in ("diagonal", "exact", "subnetwork")]


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("posterior.temperature=range(0.5,0.9,0.1)", "posterior.temperature=0.5,0.6,0.7,0.8"),
        ("posterior.temperature=range(0.1,0.4,0.1)", "posterior.temperature=0.1,0.2,0.3"),
        ("posterior.temperature=range(0.3,0,-0.1)", "posterior.temperature=0.3,0.2,0.1"),
        ("posterior.temperature=range(0,2,0.5)", "posterior.temperature=0.0,0.5,1.0,1.5"),
        ("posterior.temperature=range(0,100,0.5)", "9.5,..."),
    ],
)
def test_a_range_of_decimals_is_refused_with_the_list_to_type(text: str, listed: str) -> None:
    for refused in (check_overrides, sweep_of):
        with pytest.raises(ConfigurationError) as caught:
            refused(["-m", text])
        assert str(caught.value).endswith(listed)


def test_ranges_of_whole_numbers_stay() -> None:
    assert [job for job, _ in configurations(["-m", "seed=range(0,5,2)"])] == [("seed=0",), ("seed=2",), ("seed=4",)]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seed=range(0,3,0)", "a step other than 0"),
        ("posterior=glob(zz*)", "matches no option. Known: .*kfac"),
        ("seed=glob(*)", "'seed' is no group"),
        (f"name={'a' * 300}", r"name = 'a{40}...' has 300 bytes.*at most 200"),
        (f"study='{'ä' * 150}'", r"study = .* has 300 bytes"),
        (f"+posterior@beside.{'b' * 201}=kfac", r"posterior@beside.NAME = .* has 201 bytes"),
        ("name=''", "name is empty"),
        ("seed=-1", "seed = -1; choose one from 0 to 4294967295"),
        ("seed=4294967296", "seed = 4294967296; choose"),
        ("model.checkpoint=a=[1,2]", "two pairs of quotes"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(text: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        check_overrides(["-m", text])


def test_the_longest_names_and_the_largest_seed_pass() -> None:
    check_overrides([f"name={'/'.join(['a' * 200] * 2)}", "seed=4294967295", "study=s"])


def test_several_values_are_a_sweep() -> None:
    require_one_job(["posterior=kfac", "stages=[fit,sample]"])
    with pytest.raises(ConfigurationError, match=r"posterior=kfac,swag: several values are a sweep: add -m"):
        require_one_job(["posterior=kfac,swag"])
