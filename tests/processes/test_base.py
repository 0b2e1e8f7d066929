"""What every process does with its coefficients."""

from __future__ import annotations

import math

import pytest
import torch

from genuq.processes import FlowMatching, VariancePreserving

SCHEDULES = {"linear": "linear", "scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}
PATHS = [FlowMatching(), *(VariancePreserving(schedule) for schedule in SCHEDULES)]
IDS = ["flow_matching", *SCHEDULES]


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_half_log_snr_is_its_definition(path):
    for t in (0.01, 0.5, 0.99):
        expected = math.log(float(path.alpha(t)) / float(path.sigma(t)))
        assert float(path.half_log_snr(t)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_interpolation_mixes_each_row_with_its_own_time(path):
    x0, noise, times = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4), torch.tensor([0.1, 0.5, 0.9])
    found = path.interpolate(x0, noise, times)
    assert found.dtype == torch.float32
    for row in range(3):
        expected = float(path.alpha(times[row])) * x0[row] + float(path.sigma(times[row])) * noise[row]
        torch.testing.assert_close(found[row], expected)
