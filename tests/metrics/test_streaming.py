"""The torchmetrics modules equal the functions, batch by batch and across processes."""

from __future__ import annotations

import pickle

import pytest
import torch

from genuq.errors import DataError
from genuq.metrics import (
    FrechetDistance,
    KernelDistance,
    frechet_distance,
    kernel_distance,
    precision_recall,
)
from support.metric_processes import FAKE, REAL, all_values, fed
from support.programs import finished, start


def expected_values() -> dict[str, float]:
    manifold = precision_recall(REAL, FAKE, 3)._asdict()
    return {"frechet": frechet_distance(REAL, FAKE), "kernel": kernel_distance(REAL, FAKE), **manifold}


def test_batches_give_the_functions_values():
    assert all_values() == pytest.approx(expected_values(), abs=1e-9)


def test_two_processes_give_the_values_of_one(tmp_path):
    code = "import sys; from support.metric_processes import join_group; join_group(int(sys.argv[1]), sys.argv[2])"
    both = [start(code, str(rank), str(tmp_path)) for rank in range(2)]
    assert [finished(process).returncode for process in both] == [0, 0]
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt") == pytest.approx(expected_values(), abs=1e-9)


@pytest.mark.parametrize("pickled", [False, True])
def test_a_variance_that_is_small_beside_the_mean_is_kept(pickled: bool) -> None:
    """Deviation 1e-3 at a mean of 1e3: sums of x x^T in float64 keep ten digits of 1e6, and lose 0.2 % of 1e-6."""
    source = torch.Generator().manual_seed(0)
    real, fake = (1e3 + 1e-3 * (n * torch.randn(60, 5, generator=source, dtype=torch.float64)) for n in (1, 3))
    metric = FrechetDistance(5)
    for whole, is_real in ((real, True), (fake, False)):
        for batch in whole.split(8):
            metric.update(batch, real=is_real)
    if pickled:
        metric = pickle.loads(pickle.dumps(metric))
    assert float(metric.compute()) == pytest.approx(frechet_distance(real, fake), rel=1e-7)


def test_states_of_two_metrics_merge() -> None:
    halves = [FrechetDistance(5), FrechetDistance(5)]
    for rank, metric in enumerate(halves):
        fed(metric, rank, processes=2)
    halves[0].merge_state(halves[1])
    assert float(halves[0].compute()) == pytest.approx(frechet_distance(REAL, FAKE), rel=1e-9)


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
