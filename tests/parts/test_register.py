"""Registers: installed packages' parts, those that are broken, clashes, and which class paths are refused."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from genuq.errors import ConfigurationError
from genuq.parts import entry_points, identity, plugged, register_of
from genuq.posteriors import POSTERIORS, PosteriorPart
from genuq.scores import SCORES, ScorePart
from support import my_lab_parts as lab

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs entry points: names with what loading them gives, or an error that it raises."""

    def installed(**points: Any) -> None:
        made = [entry_point(name, loaded) for name, loaded in points.items()]
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: made if group == "genuq.parts" else [])
        entry_points.installed.cache_clear()

    yield installed
    monkeypatch.undo()
    entry_points.installed.cache_clear()


def entry_point(name: str, loaded: Any) -> Any:
    def load() -> Any:
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    return SimpleNamespace(
        name=name, value=f"my_lab:{name}", load=load, dist=SimpleNamespace(name="my-lab", version="1.2")
    )


NARROW = PosteriorPart(name="narrow", target="support.my_lab_parts:Narrow", label="Narrow")


def test_a_package_brings_one_part_several_or_a_function(install: Install) -> None:
    install(one=NARROW, several=[ScorePart(name="spread", target=lab.spread)], function=lambda: [lab.DARKNESS])
    assert POSTERIORS.get("narrow").resolve() is lab.Narrow and POSTERIORS.get("narrow").distribution == "my-lab 1.2"
    assert {"spread", "darkness"} <= set(SCORES) and SCORES.names(source="image") == ["complexity", "darkness"]
    assert list(SCORES)[-2:] == ["darkness", "spread"] and not SCORES.broken()
    assert identity(POSTERIORS.get("narrow"))["distribution"] == "my-lab 1.2"


def test_a_broken_package_is_an_error_only_where_it_is_asked_for(install: Install) -> None:
    install(spectral=ImportError("no module named fft_lab"), narrow=NARROW, number=3)
    assert POSTERIORS.get("narrow") and POSTERIORS.get("exact_laplace")
    with pytest.raises(ConfigurationError, match=r"posterior\.name: 'spectral' .*my-lab 1\.2.*no module named fft_lab"):
        POSTERIORS.get("spectral")
    reasons = {broken.name: broken.reason for broken in POSTERIORS.broken()}
    assert "fft_lab" in reasons["spectral"] and "not int" in reasons["number"]


def test_a_part_that_cannot_be_imported_says_so_when_it_is_used(install: Install) -> None:
    install(gone=PosteriorPart(name="gone", target="my_lab_that_is_not:Gone"))
    assert "gone" in POSTERIORS
    with pytest.raises(ConfigurationError, match=r"'gone' \(my_lab_that_is_not:Gone\), of .* package my-lab"):
        POSTERIORS.get("gone").resolve()
    install(wrong=PosteriorPart(name="wrong", target="support.my_lab_parts:OneLayer"))
    with pytest.raises(ConfigurationError, match=r"is not a subclass of genuq\.posteriors\.Posterior"):
        POSTERIORS.get("wrong").make(None)


def test_two_parts_of_one_name_are_an_error_where_the_name_is_used(install: Install) -> None:
    install(map=PosteriorPart(name="map", target="support.my_lab_parts:Narrow"))
    with pytest.raises(ConfigurationError, match=r"'map' of the installed package my-lab 1\.2 .*genuq itself has"):
        POSTERIORS.get("map")
    assert POSTERIORS.get("swag") and [each.name for each in POSTERIORS.broken()] == ["map"]
    with pytest.raises(ConfigurationError, match="'entropy' is registered already"):
        SCORES.register(ScorePart(name="entropy", target=lab.spread))


def test_an_unknown_name_is_answered_with_the_nearest_and_with_what_is_broken(install: Install) -> None:
    install(other=ImportError("gone"))
    with pytest.raises(ConfigurationError, match=r"beside\.x\.name: 'swga' .* Did you mean 'swag'.*'other'"):
        POSTERIORS.get("swga", "beside.x.name")


def test_a_class_path_must_answer_to_the_interface_of_its_group() -> None:
    for group, path in (("posterior", "OneLayer"), ("network", "Narrow"), ("solver", "OtherFlow"), ("score", "SHIFT")):
        with pytest.raises(ConfigurationError, match=rf"{group}\._target_ = 'support\.my_lab_parts\.{path}' is "):
            plugged(f"support.my_lab_parts.{path}", group, f"{group}._target_")
    with pytest.raises(ConfigurationError, match=r"no parts called 'postrior'\. Did you mean 'posterior'"):
        register_of("postrior")


def test_genuqs_own_class_path_is_its_own_part() -> None:
    assert plugged("genuq.posteriors.Swag", "posterior", "posterior._target_") is POSTERIORS.get("swag")
