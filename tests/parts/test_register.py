"""Registers: installed packages' parts, those that are broken, clashes, and which class paths are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from genuq.errors import ConfigurationError
from genuq.parts import plugged, register_of
from genuq.posteriors import POSTERIORS, PosteriorPart
from genuq.scores import SCORES, ScorePart
from support import my_lab_parts as lab

NARROW = PosteriorPart(name="narrow", target="support.my_lab_parts:Narrow", label="Narrow")


def test_a_part_that_cannot_be_imported_says_so_when_it_is_used(install: Callable[..., None]) -> None:
    install(gone=PosteriorPart(name="gone", target="my_lab_that_is_not:Gone"))
    assert "gone" not in POSTERIORS and "exact_laplace" in POSTERIORS
    with pytest.raises(ConfigurationError, match=r"'gone' \(my_lab_that_is_not:Gone\), of .* package my-lab"):
        POSTERIORS.get("gone")
    install(wrong=PosteriorPart(name="wrong", target="support.my_lab_parts:OneLayer"))
    with pytest.raises(ConfigurationError, match=r"is not a subclass of genuq\.posteriors\.Posterior"):
        POSTERIORS.get("wrong")


def test_two_parts_of_one_name_are_an_error_where_the_name_is_used(install: Callable[..., None]) -> None:
    install(map=PosteriorPart(name="map", target="support.my_lab_parts:Narrow"))
    with pytest.raises(ConfigurationError, match=r"'map' of the installed package my-lab 1\.2 .*genuq itself has"):
        POSTERIORS.get("map")
    assert POSTERIORS.get("swag") and [each.name for each in POSTERIORS.broken()] == ["map"]
    with pytest.raises(ConfigurationError, match="'entropy' is registered already"):
        SCORES.register(ScorePart(name="entropy", target=lab.spread))


def test_an_unknown_name_is_answered_with_the_nearest_and_with_what_is_broken(install: Callable[..., None]) -> None:
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
