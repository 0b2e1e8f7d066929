"""A path through a table: at its entries exactly, monotone and smooth between them, and back from the log SNR."""

from __future__ import annotations

import pytest
import torch

from genuq.processes.tabulated import Tabulated


def table(ends_at_zero: bool) -> torch.Tensor:
    alpha = torch.linspace(0.99, 0.0 if ends_at_zero else 0.01, 40, dtype=torch.float64)
    return alpha - 1 if ends_at_zero else alpha.log()


@pytest.mark.parametrize("ends_at_zero", [False, True])
def test_entry_n_is_at_n_plus_one_of_all(ends_at_zero):
    path = Tabulated(table(ends_at_zero), ends_at_zero)
    t = (torch.arange(40, dtype=torch.float64) + 1) / 40
    expected = torch.linspace(0.99, 0.0 if ends_at_zero else 0.01, 40, dtype=torch.float64)
    torch.testing.assert_close(path.alpha(t), expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(path.alpha(t).square() + path.sigma(t).square(), torch.ones(40, dtype=torch.float64))
    assert path.zero_terminal_snr == ends_at_zero
    fine = torch.linspace(0, 1, 1001, dtype=torch.float64)
    assert bool((path.alpha(fine).diff() < 0).all())
    inner = fine[1:-1]
    torch.testing.assert_close(path.time_at(path.half_log_snr(inner)), inner, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("ends_at_zero", [False, True])
def test_the_ends_of_the_log_snr(ends_at_zero):
    path = Tabulated(table(ends_at_zero), ends_at_zero)
    assert float(path.time_at(float("inf"))) == 0.0
    assert float(path.time_at(float("-inf"))) == 1.0
