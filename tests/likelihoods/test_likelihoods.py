"""Likelihoods by name: the extractor is made for those alone that have one, and what they need is asked for."""

from __future__ import annotations

import pytest
import torch

from genuq import likelihoods
from genuq.errors import ConfigurationError
from genuq.extractors import Extractor, FromCallable


def means() -> Extractor:
    return FromCallable(lambda images: images.mean((2, 3)), "means", 3)


def never() -> Extractor:
    raise AssertionError("the extractor was made for a likelihood that has none")


def test_an_extractor_is_made_where_it_is_needed() -> None:
    semantic = likelihoods.build("semantic", (3, 4, 4), means, observation_variance=0.5)
    assert isinstance(semantic, likelihoods.SemanticLikelihood) and semantic.name == "semantic:means"
    assert isinstance(likelihoods.build("pixel", (1, 4, 4), never), likelihoods.PixelLikelihood)
    points = likelihoods.build("pixel", (2,), None)
    assert torch.equal(points.embed(torch.ones(3, 2)), torch.ones(3, 2))


@pytest.mark.parametrize(
    ("name", "shape", "extractor", "said"),
    [
        ("semantic", (2,), means, r"likelihood=semantic needs images; for points use likelihood=pixel"),
        ("semantic", (3, 4, 4), None, r"likelihood\.extractor = 'None'; name an extractor, or choose pixel"),
        ("semntic", (3, 4, 4), means, "Did you mean 'semantic'"),
    ],
)
def test_what_cannot_be_built_is_said(name: str, shape: tuple[int, ...], extractor: object, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        likelihoods.build(name, shape, extractor)  # type: ignore[arg-type]
