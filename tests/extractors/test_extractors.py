"""The package's public names: timm's extractor is read only when it is asked for."""

from __future__ import annotations

import pytest

from genuq import extractors


def test_public_names_are_there_and_others_are_attribute_errors() -> None:
    assert all(hasattr(extractors, name) for name in extractors.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Tim'"):
        extractors.Tim  # noqa: B018


def test_the_extractor_that_imports_timm_is_no_name_of_the_package_itself() -> None:
    assert extractors.Timm.__module__ == "genuq.extractors.pretrained" and "Timm" not in vars(extractors)
