"""The torchmetrics modules equal the functions, batch by batch and across processes."""

from __future__ import annotations

import pytest
import torch
import torch.distributed
import torch.multiprocessing

from genuq.errors import DataError
from genuq.metrics import (
    FrechetDistance,
    KernelDistance,
    frechet_distance,
    kernel_distance,
    precision_recall,
)
from support.metric_processes import FAKE, REAL, all_values, fed, join_group


def expected_values() -> dict[str, float]:
    manifold = precision_recall(REAL, FAKE, 3)._asdict()
    return {"frechet": frechet_distance(REAL, FAKE), "kernel": kernel_distance(REAL, FAKE), **manifold}


def test_batches_give_the_functions_values():
    assert all_values() == pytest.approx(expected_values(), abs=1e-9)


def test_two_processes_give_the_values_of_one(tmp_path):
    torch.multiprocessing.spawn(join_group, args=(str(tmp_path),), nprocs=2)
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt") == pytest.approx(expected_values(), abs=1e-9)


def test_reset_forgets():
    metric = fed(FrechetDistance(5))
    metric.reset()
    metric.update(FAKE, real=True)
    metric.update(FAKE, real=False)
    assert float(metric.compute()) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_computing_too_early_or_feeding_the_wrong_dimension_is_refused():
    with pytest.raises(DataError, match="0 real samples"):
        FrechetDistance(5).compute()
    with pytest.raises(DataError, match="call update first"):
        KernelDistance().compute()
    with pytest.raises(DataError, match="dimension 4, not 5"):
        FrechetDistance(4).update(REAL, real=True)
