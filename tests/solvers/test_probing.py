"""Rows read off schedulers: known ones come back, the shortest memory is found, and noise is supplied."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.solvers.probing import NotAffineError, Row, SuppliedNoise, probe, shortest


class Recurrence:
    """A scheduler by the book: x' = 0.5 x + 0.2 x_before + f - 0.3 f_before + 0.1 noise."""

    init_noise_sigma = 2.0

    def __init__(self, bend: float = 0.0, far: int = 1, draws: int = 1) -> None:
        self.timesteps = torch.tensor([30, 20, 10, 5, 1])
        self.bend, self.far, self.draws = bend, far, draws
        self.states: list[torch.Tensor] = []
        self.answers: list[torch.Tensor] = []

    def scale_model_input(self, x, time):
        return x * (0.1 + 0.9 / float(time))

    def step(self, f, time, x, return_dict=False):
        self.states, self.answers = [*self.states, x], [*self.answers, f]
        out = 0.5 * x + f + self.bend * x.clamp(-1, 1)
        if len(self.states) > self.far:
            out = out + 0.2 * self.states[-1 - self.far] - 0.3 * self.answers[-1 - self.far]
        for _ in range(self.draws):
            out = out + 0.1 * torch.randn(x.shape)
        return (out,)


def test_a_recurrence_comes_back():
    found = probe(Recurrence, 0, {})
    scales = [0.1 + 0.9 / t for t in (30, 20, 10, 5, 1)]
    assert found.times == [30, 20, 10, 5, 1]
    assert found.start == pytest.approx(2 * scales[0])
    assert found.scales == pytest.approx([*scales, 1.0])
    for stage, row in enumerate(found.rows[1:], 1):
        out = found.scales[stage + 1]
        assert row.noise == pytest.approx(0.1 * out)
        assert row.x[0] == pytest.approx(0.5 * out / scales[stage])
        if stage > 1:  # before, x_0 is what x_1 and f_0 say already
            assert row.x[1] == pytest.approx(0.2 * out / scales[stage - 1])
            assert row.f == pytest.approx((out, -0.3 * out))


def test_several_noises_of_a_step_are_one():
    rows = probe(lambda: Recurrence(draws=4), 0, {}).rows
    assert rows[-1].noise == pytest.approx(0.2)
    with pytest.raises(ConfigurationError, match="other noise"):
        probe(lambda: Recurrence(draws=9), 0, {})


def test_the_memory_is_as_long_as_it_has_to_be():
    rows = probe(lambda: Recurrence(far=3), 0, {}).rows
    assert [len(row.f) for row in rows] == [1, 1, 1, 4, 4]


def test_a_bend_is_found_where_it_is():
    with pytest.raises(NotAffineError, match="from time 30 clips or bends"):
        probe(lambda: Recurrence(bend=1e-3), 0, {})


def test_a_step_that_fails_says_so():
    with pytest.raises(ConfigurationError, match="Recurrence refuses its step at time 30"):
        probe(Recurrence, 0, {"eta": 1.0})


def test_what_no_combination_gives_is_none():
    units = torch.eye(4, dtype=torch.float64)
    assert shortest(units[3], units[:1], units[1:2], []) is None
    assert shortest(2 * units[0] - units[1], units[:1], units[1:2], []) == Row((2.0,), (-1.0,), 0.0)


class TestSuppliedNoise:
    def test_stands_in_for_all_that_torch_draws(self):
        given = []
        like = torch.zeros(2, 3, dtype=torch.float32)
        with SuppliedNoise(lambda shape: given.append(tuple(shape)) or torch.full(tuple(shape), 7.0)):
            drawn = [torch.randn((2, 3)), torch.randn(2, 3), torch.randn(size=(2, 3)), torch.randn_like(like)]
        assert given == [(2, 3)] * 4
        assert all(bool((tensor == 7).all()) for tensor in drawn)
        assert not bool((torch.randn(2, 3) == 7).any())

    def test_keeps_what_is_exact_only_where_asked_to(self):
        x = torch.zeros(1, 1, 1, 2, dtype=torch.float64)
        with SuppliedNoise(torch.zeros, exact=True):
            assert x.to(torch.float32).dtype == x.float().dtype == torch.float64
        with SuppliedNoise(torch.zeros):
            assert x.to(torch.float32).dtype == torch.float32

    def test_has_the_precision_that_is_asked_for(self):
        with SuppliedNoise(lambda shape: torch.zeros(tuple(shape))):
            assert torch.randn((1, 2), dtype=torch.float16).dtype == torch.float16


def test_unit_vectors_need_a_scheduler_that_counts():
    empty = SimpleNamespace(timesteps=torch.tensor([1.0]), step=lambda f, time, x, return_dict: (x,))
    assert probe(lambda: empty, 0, {}).rows == [Row((1.0,), (0.0,), 0.0)]
