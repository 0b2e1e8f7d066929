"""Keyed randomness: the same number for the same key, unrelated ones for any other."""

from __future__ import annotations

import math

import pytest
import torch

from genuq import randomness
from genuq.randomness import ANCESTRAL, INITIAL, WEIGHTS, generator, generators, key, normal, uniform

COUNT = 20_000
# 63 bits of BLAKE2b of "0/0/initial noise" and "7/123/ancestral noise".
GOLDEN = [6979297625841767280, 5374329523703957417]


def test_keys_are_fixed_for_good():
    """Published samples depend on these numbers: changing the scheme must be a decision, not an accident."""
    assert key(0, 0, INITIAL) == GOLDEN[0]
    assert key(7, 123, ANCESTRAL) == GOLDEN[1]


def test_keys_of_different_purposes_and_neighbours_differ():
    streams = [value for name, value in vars(randomness).items() if name.isupper() and isinstance(value, str)]
    keys = {key(seed, index, stream) for seed in range(5) for index in range(50) for stream in streams}
    assert len(streams) == len(set(streams)) >= 10
    assert len(keys) == 5 * 50 * len(streams)
    assert all(0 <= value < 2**63 for value in keys)


def test_seed_and_index_are_not_interchangeable():
    assert key(1, 12, WEIGHTS) != key(11, 2, WEIGHTS)
    assert key(1, 2, WEIGHTS) != key(2, 1, WEIGHTS)


@pytest.mark.parametrize("indices", [[3, 1, 8], torch.tensor([3, 1, 8]), range(3)])
def test_row_b_belongs_to_index_b(indices):
    rows = normal(generators(5, indices, INITIAL), (2, 4))
    assert rows.shape == (3, 2, 4)
    for row, index in zip(rows, indices):
        assert torch.equal(row, torch.randn(2, 4, generator=generator(5, int(index), INITIAL)))


def test_successive_draws_of_a_generator_differ_and_repeat():
    first, again = generators(0, [4], ANCESTRAL), generators(0, [4], ANCESTRAL)
    draws = [normal(first, (6,)) for _ in range(3)]
    assert not torch.equal(draws[0], draws[1])
    assert all(torch.equal(draw, normal(again, (6,))) for draw in draws)


@pytest.mark.parametrize("other", [(0, 0, ANCESTRAL), (0, 1, INITIAL), (1, 0, INITIAL)])
def test_streams_are_uncorrelated(other):
    one, two = (normal([generator(*where)], (COUNT,))[0].double() for where in ((0, 0, INITIAL), other))
    correlation = float(torch.corrcoef(torch.stack([one, two]))[0, 1])
    assert abs(correlation) < 4 / math.sqrt(COUNT)


def test_first_numbers_of_successive_samples_are_standard_normal_and_unrelated():
    """Each sample has a generator of its own, so the quality across generators matters, not only within one."""
    rows = normal(generators(0, range(4000), INITIAL), (2,)).double()
    assert rows.mean(0).abs().max() < 4 / math.sqrt(4000)
    assert (rows.std(0) - 1).abs().max() < 4 / math.sqrt(2 * 4000)
    assert abs(float(torch.corrcoef(rows.T)[0, 1])) < 4 / math.sqrt(4000)
    neighbours = torch.corrcoef(torch.stack([rows[:-1, 0], rows[1:, 0]]))
    assert abs(float(neighbours[0, 1])) < 4 / math.sqrt(4000)


def test_uniform_lies_in_the_unit_interval():
    values = uniform(generators(0, range(2000), WEIGHTS))
    assert values.shape == (2000,)
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(float(values.mean()) - 0.5) < 4 / math.sqrt(12 * 2000)


def test_numbers_do_not_depend_on_global_state_or_default_device():
    expected = normal(generators(1, [2], INITIAL), (3,))
    torch.manual_seed(99)
    with torch.device("meta"):
        found = torch.randn(3, generator=generator(1, 2, INITIAL), device="cpu")
    assert torch.equal(found, expected[0])
    assert generator(1, 2, INITIAL).device == torch.device("cpu")
    state = torch.get_rng_state()
    normal(generators(1, [2], INITIAL), (3,))
    assert torch.equal(torch.get_rng_state(), state)


def test_precision_can_be_chosen():
    assert normal(generators(0, [0], INITIAL), (2,), torch.float64).dtype == torch.float64
