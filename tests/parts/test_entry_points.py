"""Installed packages that bring parts, and those that are broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from genuq.config import schemas
from genuq.config.compose import choices_of
from genuq.errors import ConfigurationError
from genuq.models.register import ModelPart
from genuq.parts import identity
from genuq.posteriors import POSTERIORS, PosteriorPart
from genuq.scores import SCORES, ScorePart
from support import my_lab_parts as lab

NARROW = PosteriorPart(name="narrow", target="support.my_lab_parts:Narrow", label="Narrow")


def test_a_package_brings_one_part_several_or_a_function(install: Callable[..., None]) -> None:
    install(one=NARROW, several=[ScorePart(name="spread", target=lab.spread)], function=lambda: [lab.DARKNESS])
    assert POSTERIORS.get("narrow").resolve() is lab.Narrow and POSTERIORS.get("narrow").distribution == "my-lab 1.2"
    assert {"spread", "darkness"} <= set(SCORES) and SCORES.names(source="image") == ["complexity", "darkness"]
    assert list(SCORES)[-2:] == ["darkness", "spread"] and not SCORES.broken()
    assert identity(POSTERIORS.get("narrow"))["distribution"] == "my-lab 1.2"


def test_a_broken_package_is_an_error_only_where_it_is_asked_for(install: Callable[..., None]) -> None:
    install(spectral=ImportError("no module named fft_lab"), narrow=NARROW, number=3)
    assert POSTERIORS.get("narrow") and POSTERIORS.get("exact_laplace")
    with pytest.raises(ConfigurationError, match=r"posterior\.name: 'spectral' .*my-lab 1\.2.*no module named fft_lab"):
        POSTERIORS.get("spectral")
    reasons = {broken.name: broken.reason for broken in POSTERIORS.broken()}
    assert "fft_lab" in reasons["spectral"] and "not int" in reasons["number"]


def test_a_model_of_a_package_keeps_the_posterior_of_the_last_layer(install: Callable[..., None]) -> None:
    install(own_model=ModelPart(name="own_model", target="support.my_lab_parts:own_model", label="Own"))
    schemas.register()
    for more, posterior in (([], "exact_laplace"), (["posterior=kfac"], "kfac")):
        assert choices_of(["model=own_model", *more])["posterior"] == posterior
