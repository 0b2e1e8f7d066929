"""Mixtures against their closed-form moments, off-mode points against a loop."""

import math

import pytest
import torch

from genuq.data import gaussian_mixture, load, off_mode
from genuq.errors import DataError

STANDARD_ERRORS = 5


@pytest.mark.parametrize("modes", [8, 25])
def test_moments_are_the_closed_form(modes):
    """Mean zero; covariance that of the centres, one, plus that of a mode."""
    size, deviation = 100_000, 0.2
    points = gaussian_mixture(modes, size, standard_deviation=deviation).items.double()
    variance = 1 + deviation**2
    assert points.mean(dim=0).abs().max() < STANDARD_ERRORS * math.sqrt(variance / size)
    covariance = torch.cov(points.T)
    assert (covariance - variance * torch.eye(2)).abs().max() < STANDARD_ERRORS * math.sqrt(2) * variance / size**0.5


@pytest.mark.parametrize("modes", [8, 25])
def test_each_mode_has_its_share_its_centre_and_its_deviation(modes):
    dataset = gaussian_mixture(modes, 50_000, seed=4)
    share = 50_000 / modes
    assert dataset.num_classes == modes and dataset.shape == (2,) and dataset.items.dtype == torch.float32
    assert (dataset.labels.bincount() - share).abs().max() < STANDARD_ERRORS * math.sqrt(share)
    for mode, centre in enumerate(dataset.centres):
        points = dataset.items[dataset.labels == mode]
        assert (points.mean(dim=0) - centre).abs().max() < STANDARD_ERRORS * 0.05 / math.sqrt(len(points))
        assert (points.std(dim=0) / 0.05 - 1).abs().max() < STANDARD_ERRORS / math.sqrt(2 * len(points))


def test_the_centres_are_a_circle_and_a_grid():
    circle, grid = gaussian_mixture(8, 1).centres, gaussian_mixture(25, 1).centres
    assert torch.allclose(circle.norm(dim=1), torch.full((8,), math.sqrt(2)))
    gaps = (circle.roll(-1, 0) - circle).norm(dim=1)
    assert torch.allclose(gaps, gaps[:1].expand(8))
    expected = {(round(x / math.sqrt(2), 4), round(y / math.sqrt(2), 4)) for x in range(-2, 3) for y in range(-2, 3)}
    assert {(round(x, 4), round(y, 4)) for x, y in grid.tolist()} == expected


def test_points_are_keyed_by_seed_and_split():
    same = [gaussian_mixture(8, 100, seed=1).items for _ in range(2)]
    assert torch.equal(*same)
    others = [gaussian_mixture(8, 100, seed=2).items, gaussian_mixture(8, 100, seed=1, split="test").items]
    assert not any(torch.equal(same[0], other) for other in others)
    assert torch.equal(load("gaussian_mixture", "test", modes=8, size=100, seed=1).items, others[1])


def test_off_mode_is_the_distance_to_the_nearest_centre():
    dataset = gaussian_mixture(8, 10, standard_deviation=0.1)
    points = 2 * torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    centres = dataset.centres.tolist()
    brute = [min(math.dist(point, centre) for centre in centres) > 4 * 0.1 for point in points.tolist()]
    assert off_mode(points, dataset).tolist() == brute and 0 < sum(brute) < 500
    edge = dataset.centres[0] + torch.tensor([[0.399, 0.0], [0.401, 0.0]])
    assert off_mode(edge, dataset).tolist() == [False, True]


def test_true_samples_are_off_mode_as_often_as_a_rayleigh_tail():
    dataset = gaussian_mixture(25, 50_000)
    rate, expected = float(off_mode(dataset.items, dataset, threshold=2.0).double().mean()), math.exp(-2)
    assert abs(rate - expected) < STANDARD_ERRORS * math.sqrt(expected * (1 - expected) / 50_000)


def test_a_point_that_is_not_a_number_is_off_every_mode():
    points = torch.tensor([[math.nan, 0.0], [math.inf, 0.0]])
    assert off_mode(points, gaussian_mixture(8, 10)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modes": 9}, "mixture of 9 modes does not exist; modes is one of 8, 25"),
        ({"size": 0}, "positive size"),
        ({"standard_deviation": math.nan}, "positive size and standard_deviation"),
        ({"split": "valid"}, "split 'valid' does not exist"),
    ],
)
def test_mixtures_that_do_not_exist(options, message):
    with pytest.raises(DataError, match=message):
        gaussian_mixture(**options)


@pytest.mark.parametrize("modes", [8, 25])
def test_its_oracle_is_that_of_the_distance_and_flags_no_true_point(modes):
    dataset = gaussian_mixture(modes, 5_000, seed=6)
    truth = dataset.oracle.truth(dataset.items)
    assert truth.valid.all() and dataset.oracle.tolerance == pytest.approx(5)
    points = 2 * torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(dataset.oracle.truth(points).valid, ~off_mode(points, dataset, threshold=5.0))


def test_points_between_two_modes_are_those_near_their_segment():
    dataset = gaussian_mixture(8, 10)
    first, second = dataset.centres[:2]
    along = (second - first) / (second - first).norm()
    across = torch.stack([-along[1], along[0]])
    middle = (first + second) / 2
    points = torch.stack([middle, middle + 0.24 * across, middle + 0.26 * across, first - 0.5 * along, first])
    truth = dataset.oracle.truth(points)
    assert [truth.names[kind] for kind in truth.kinds] == [
        *("interpolated", "interpolated", "invalid", "invalid", "valid")
    ]
    with pytest.raises(DataError, match=r"knows points \(N, 2\), not \(4, 3\)"):
        dataset.oracle.truth(torch.zeros(4, 3))
