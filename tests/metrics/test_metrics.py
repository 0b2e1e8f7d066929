"""The package's public names: the modules of torchmetrics are read only when they are asked for."""

from __future__ import annotations

import pytest

from genuq import metrics
from genuq.metrics import streaming


def test_public_names_are_there_and_others_are_attribute_errors() -> None:
    assert all(hasattr(metrics, name) for name in metrics.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Frechet'"):
        metrics.Frechet  # noqa: B018


@pytest.mark.parametrize("name", ["FrechetDistance", "KernelDistance", "PrecisionRecallDensityCoverage"])
def test_what_imports_torchmetrics_is_no_name_of_the_package_itself(name: str) -> None:
    assert getattr(metrics, name) is getattr(streaming, name) and name not in vars(metrics)
