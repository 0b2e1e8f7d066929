"""Class paths as options: told from names with dots, known to Hydra, and refused where no part can stand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from genuq.config import schemas
from genuq.config.compose import configurations
from genuq.config.plugged import as_options, chosen_parts, in_words, is_path, places, readers_of, settle, unread
from genuq.errors import ConfigurationError
from genuq.parts import register_of
from support.small_runs import POINTS, composed

NARROW = "support.my_lab_parts.Narrow"


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Hydra's schemas; what a test plugs in is taken out again."""
    schemas.register()
    before = {kind: set(register_of(kind)) for kind in ("posterior", "score")}
    yield
    for kind, names in before.items():
        for name in set(register_of(kind)) - names:
            register_of(kind).remove(name)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("support.my_lab_parts.Narrow", True),
        ("support.my_lab_parts:Narrow", True),
        ("resnet18.a1_in1k", False),  # a model of timm
        ("no_such_lab.Part", False),
        ("kfac", False),
        ("1.5", False),
        (None, False),
    ],
)
def test_a_path_begins_with_what_can_be_imported(value: object, found: bool) -> None:
    assert is_path(value) is found


def test_a_class_path_becomes_the_option_of_its_group() -> None:
    assert as_options(["seed=1", "posterior=kfac", "a=[b"]) == ["seed=1", "posterior=kfac", "a=[b"]
    assert as_options([f"posterior._target_={NARROW}", f"posterior={NARROW},kfac"]) == [
        f"posterior={NARROW}",
        f"posterior={NARROW},kfac",
    ]
    assert as_options([f"beside.mine._target_={NARROW}"]) == [f"+posterior@beside.mine={NARROW}"]
    assert as_options(["posterior._target_=genuq.posteriors.Swag"]) == ["posterior=swag"]
    with pytest.raises(ConfigurationError, match=r"trainer\._target_: only data, .* take a class path"):
        as_options([f"trainer._target_={NARROW}"])


def test_a_configuration_names_the_part_and_keeps_its_path() -> None:
    ((_, config),) = configurations(as_options([*POINTS[:2], "experiment=mixture", f"posterior._target_={NARROW}"]))
    settle(config)
    assert config.posterior.name == "narrow" and config.parts.posterior.narrow == NARROW
    assert "narrow" in [part.name for part in chosen_parts(config)]


def test_chosen_options_have_their_places() -> None:
    config = composed(*POINTS, "+posterior@beside.other=kfac")
    found = dict(places(config))
    assert found["posterior"] == found["beside.other"] == "posterior" and found["sampler"] == "sampler"
    assert "propagator" not in found
    assert {"exact_laplace", "kfac", "entropy"} <= {part.name for part in chosen_parts(config)}


def test_what_nothing_reads_is_told_with_who_would() -> None:
    config = composed(*POINTS)
    assert unread(["sampler.steps=3", "seed=1"], config) == {}
    told = unread(["posterior.rank=3", "score.probes=2"], config)
    assert "'posterior.rank' is not a key of 'exact_laplace': `rank` belongs to" in told["posterior.rank"]
    assert "is read by no column of this run" in told["score.probes"] and "likelihood" in readers_of("probes")


def test_names_in_words() -> None:
    assert [in_words(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
