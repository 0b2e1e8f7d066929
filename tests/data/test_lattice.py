"""Mixtures on a lattice: their centres by brute force, and their oracle on real and on planted points."""

from __future__ import annotations

import math

import pytest
import torch

from genuq.data import lattice_mixture, load
from genuq.data.lattice import lattice_centres
from genuq.errors import DataError

DIMENSIONS = (2, 8, 32)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_no_real_point_is_flagged(dimension):
    dataset = lattice_mixture(dimension, size=5_000, seed=2, split="test")
    truth = dataset.oracle.truth(dataset.items)
    assert truth.valid.all() and truth.mask is None
    own = (dataset.items - dataset.centres[dataset.labels]).double().norm(dim=1) / 0.02
    torch.testing.assert_close(truth.defect_size, own, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_points_between_modes_and_far_from_all_are_told_apart(dimension):
    dataset = lattice_mixture(dimension, size=10)
    centres, oracle = dataset.centres.double(), dataset.oracle
    distances = torch.cdist(centres, centres).fill_diagonal_(math.inf)
    first = centres[0]
    second = centres[distances[0].argmin()]
    between = first + torch.linspace(0.2, 0.45, 6, dtype=torch.float64)[:, None] * (second - first)
    away = torch.cat([centres * 1.5 + 0.7, torch.full((1, dimension), math.nan, dtype=torch.float64)])[1:]
    truth = oracle.truth(torch.cat([between, away]))
    assert [truth.names[kind] for kind in truth.kinds] == ["interpolated"] * 6 + ["invalid"] * 25
    assert truth.of("broken").all() and list(truth.faults) == ["broken", "interpolated", "invalid"]


def test_in_the_plane_the_tolerance_is_five_deviations_and_the_modes_are_the_lattice():
    dataset = lattice_mixture(size=10)
    assert dataset.oracle.tolerance == pytest.approx(5)
    expected = {(2.0 * x, 2.0 * y) for x in range(-2, 3) for y in range(-2, 3)}
    assert {(round(x, 5), round(y, 5)) for x, y in dataset.centres.tolist()} == expected


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_each_centre_is_a_lattice_point_far_from_the_others(dimension):
    centres = lattice_centres(dimension).double()
    steps = centres / (2 * math.sqrt(2 / dimension))
    assert (steps - steps.round()).abs().max() < 1e-5 and steps.abs().max() <= 2.001 and len(centres) == 25
    nearest = torch.cdist(centres, centres).fill_diagonal_(math.inf).min()
    assert nearest > 1.99  # of the lattice's corners the farthest are 4 sqrt(2) from the origin


def test_each_further_centre_is_the_farthest_point_of_the_lattice():
    centres = lattice_centres(3, 6).double() / (2 * math.sqrt(2 / 3))
    line = range(-2, 3)
    lattice = torch.tensor([[x, y, z] for x in line for y in line for z in line], dtype=torch.float64)
    for count in range(1, 6):
        reach = torch.cdist(lattice, centres[:count]).amin(1).max()
        assert torch.cdist(centres[count : count + 1], centres[:count]).min() == pytest.approx(float(reach), abs=1e-5)


def test_points_are_keyed_by_seed_and_split():
    assert torch.equal(
        lattice_mixture(8, size=20, seed=1).items, load("lattice_mixture", dimension=8, size=20, seed=1).items
    )
    others = (lattice_mixture(8, size=20, seed=2), lattice_mixture(8, size=20, seed=1, split="test"))
    assert not any(torch.equal(lattice_mixture(8, size=20, seed=1).items, other.items) for other in others)


@pytest.mark.parametrize("options", [{"dimension": 0}, {"dimension": 1}, {"modes": 1}, {"spacing": 0.0}, {"size": 0}])
def test_mixtures_that_do_not_exist(options):
    with pytest.raises(DataError):
        lattice_mixture(**options)
