"""Names and seeds that can be known to be wrong as they are typed."""

from __future__ import annotations

import pytest

from genuq.config import schemas
from genuq.config.compose import check_overrides
from genuq.errors import ConfigurationError


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    schemas.register()


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
        ("seed=-1", r"seed = -1; it must lie in \[0, 4294967295\]"),
        ("seed=4294967296", "seed = 4294967296; it must lie"),
        ("model.checkpoint=a=[1,2]", "two pairs of quotes"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(text: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        check_overrides(["-m", text])


def test_the_longest_names_and_the_largest_seed_pass() -> None:
    check_overrides([f"name={'/'.join(['a' * 200] * 2)}", "seed=4294967295", "study=s"])
