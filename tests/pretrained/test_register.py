"""Which family reads a pipeline."""

from __future__ import annotations

import pytest

from genuq.errors import ConfigurationError
from genuq.pretrained.families.flux import Flux
from genuq.pretrained.register import family_of, pipelines


def test_a_subclass_is_of_its_base_s_family() -> None:
    assert family_of(["MyOwn", "FluxPipeline", "object"]) is Flux


def test_every_class_belongs_to_one_family() -> None:
    import diffusers

    assert [name for name in pipelines() if not hasattr(diffusers, name)] == []


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="does not know pipelines of the class 'Nothing'"):
        family_of(["Nothing"])
