"""Witnesses against refits by hand, and their calibration against a truth that only the test knows."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genuq.applications import Space, Witness, asked, calibrated_rise, fit_witness
from genuq.applications.witnesses import AT_ONCE, LEAST_TRIALS, PAIRED, TEMPERATURES, _solved
from genuq.errors import DataError
from genuq.metrics.distances import squared_distances
from support.application_cases import generator


def clouds(count: int = 60, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points around three corners of a triangle, and which one."""
    labels = torch.arange(count) % 3
    corners = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    return corners[labels] + torch.randn(count, 2, generator=generator(seed)), labels


def by_hand(features: Tensor, labels: Tensor, at: Tensor, bandwidth: float, ridge: float) -> Tensor:
    """Kernel least squares in the plainest way."""
    target = torch.eye(3).double()[labels] - 1 / 3
    kernel = torch.exp(-bandwidth * torch.cdist(features.double(), features.double()).square())
    weights = torch.linalg.solve(kernel + ridge * torch.eye(len(features)).double(), target)
    return torch.exp(-bandwidth * torch.cdist(at.double(), features.double()).square()) @ weights


def test_what_all_others_predict_is_a_refit_without_the_image() -> None:
    features, labels = clouds(30)
    _, left_out = _solved(squared_distances(features, features), labels, 3, 0.4, 0.2)
    for n in range(30):
        rest = torch.arange(30) != n
        expected = by_hand(features[rest], labels[rest], features[n : n + 1], 0.4, 0.2)[0]
        torch.testing.assert_close(left_out[n], expected, rtol=1e-9, atol=1e-10)


def test_a_witness_is_kernel_least_squares_of_the_highest_leave_one_out_likelihood() -> None:
    features, labels = clouds()
    found, (points, _) = fit_witness(features, labels, 3), clouds(20, seed=1)
    distances = squared_distances(features, features)
    median = float(distances[distances > 0].median())
    best: tuple[float, float, float, float] = (-math.inf, 0, 0, 0)
    for share in (0.5, 1.0, 2.0, 4.0):
        for ridge in (0.03, 0.1, 0.3, 1.0):
            rest = [torch.arange(60) != n for n in range(60)]
            out = torch.cat(
                [
                    by_hand(features[r], labels[r], features[n : n + 1], share / median, ridge)
                    for n, r in enumerate(rest)
                ]
            )
            for t in TEMPERATURES:
                score = -float(torch.nn.functional.cross_entropy(t * out, labels))
                best = max(best, (score, share / median, ridge, t))
    _, bandwidth, ridge, temperature = best
    assert found.bandwidth == pytest.approx(bandwidth) and found.temperature == temperature
    expected = temperature * by_hand(features, labels, points, bandwidth, ridge)
    torch.testing.assert_close(found.logits(points), expected, rtol=1e-8, atol=1e-10)
    asked_for = torch.arange(20) % 3
    probability = expected.softmax(1)[torch.arange(20), asked_for]
    torch.testing.assert_close(found.log_odds(points, asked_for), (probability / (1 - probability)).log())
    assert 0.8 < found.accuracy <= 1


def test_far_from_every_real_image_it_vouches_for_nothing() -> None:
    far = fit_witness(*clouds(), 3).logits(torch.tensor([[300.0, -300.0]]))
    torch.testing.assert_close(far, torch.zeros(1, 3).double())


def test_log_odds_hold_where_probabilities_would_round_to_one() -> None:
    witness = Witness(torch.zeros(1, 2), torch.tensor([[1.0, 0.0, -1.0]]).double(), 1.0, 300.0, 1.0)
    found = witness.log_odds(torch.zeros(3, 2), torch.arange(3))
    torch.testing.assert_close(found, torch.tensor([300.0, -300.0, -600.0]).double())


def test_many_images_are_asked_in_parts() -> None:
    witness, (points, labels) = fit_witness(*clouds(), 3), clouds(AT_ONCE + 2, seed=2)
    whole = witness.log_odds(points, labels)
    torch.testing.assert_close(whole[-3:], witness.log_odds(points[-3:], labels[-3:]))


def test_images_that_are_all_the_same_teach_nothing() -> None:
    with pytest.raises(DataError, match=r"these 5 are all the same"):
        fit_witness(torch.ones(5, 2), torch.arange(5) % 3, 3)


def test_every_witness_is_asked_in_its_own_space() -> None:
    """Candidates (N, K) keep their places, and the class asked for is the sample's."""
    images, classes = torch.randn(4, 5, 1, 2, 2, generator=generator()), torch.tensor([2, 0, 1, 0])
    ways = [lambda x: x.flatten(1)[:, :2], lambda x: 3 * x.flatten(1)[:, 2:]]
    spaces = [Space(str(w), way, fit_witness(*clouds(seed=w), 3)) for w, way in enumerate(ways)]
    found = asked(spaces, images, classes)
    assert found.shape == (2, 4, 5)
    for w, (space, way) in enumerate(zip(spaces, ways)):
        for n in range(4):
            alone = space.witness.log_odds(way(images[n]), classes[n].repeat(5))
            torch.testing.assert_close(found[w, n], alone)
    torch.testing.assert_close(asked(spaces, images[:, 0], classes), found[:, :, 0])


def test_the_calibration_by_hand() -> None:
    """Three witnesses, two classes, every pair of a class counted by loops."""
    classes = torch.tensor([0] * 14 + [1] * 9)
    truth, errors = torch.randn(23, generator=generator(3)), torch.randn(3, 23, generator=generator(4))
    asked_WN = 2 * (truth + 0.8 * errors).double()
    found = calibrated_rise(asked_WN, classes, 0.92)
    for least in (quarter / 4 for quarter in range(1, 80)):
        confirmed = trials = 0
        for i in range(23):
            for j in range(23):
                for w in range(3):
                    if classes[i] == classes[j] and asked_WN[w, j] - asked_WN[w, i] >= least:
                        others = [v for v in range(3) if v != w]
                        confirmed += sum(bool(asked_WN[v, j] > asked_WN[v, i]) for v in others)
                        trials += 2
        share = confirmed / trials
        promised = share**3 / (share**3 + (1 - share) ** 3)
        if promised >= 0.92 and trials >= LEAST_TRIALS:
            break
    assert 0.25 < found.rise < 19
    assert (found.rise, found.confirmed, found.sure) == (least, pytest.approx(share), pytest.approx(promised))


def seen_through_noise(noise: float, count: int = 600, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Truth (N,), and what two witnesses with independent errors say of it (2, N)."""
    source = generator(seed)
    truth = torch.randn(count, generator=source, dtype=torch.float64)
    return truth, 2 * (truth + noise * torch.randn(2, count, generator=source, dtype=torch.float64))


@pytest.mark.parametrize("sure", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("noise", [0.3, 0.6])
def test_what_it_promises_holds_in_truth(sure: float, noise: float) -> None:
    """Of fresh pairs in which both rise by the calibrated amount, at least so many are better in truth."""
    _, asked_WN = seen_through_noise(noise)
    rise = calibrated_rise(asked_WN, torch.arange(600) % 5, sure).rise
    assert math.isfinite(rise)
    truth, fresh = seen_through_noise(noise, 2000, seed=1)
    risen = (fresh[:, None, :] - fresh[:, :, None]).amin(0) >= rise
    better = (truth[None, :] > truth[:, None])[risen]
    assert risen.any() and float(better.double().mean()) >= sure - 0.01


def test_where_no_rise_is_sure_nothing_is() -> None:
    """Witnesses that know nothing of each other confirm half of what either says."""
    asked_WN = torch.rand(2, 400, generator=generator(), dtype=torch.float64)
    found = calibrated_rise(asked_WN, torch.zeros(400, dtype=torch.long), 0.9)
    assert found.rise == math.inf and 0.4 < found.confirmed < 0.75 and found.sure < 0.9
    few = calibrated_rise(asked_WN[:, :3], torch.zeros(3, dtype=torch.long), 0.5)
    assert (few.rise, few.sure) == (math.inf, 0.0)  # too few pairs to know anything


def test_of_very_many_images_of_a_class_evenly_spaced_ones_calibrate() -> None:
    """Twice as many, every second one noise: were the first ones taken, or all, it would not be the same."""
    _, few = seen_through_noise(0.3, PAIRED)
    many = torch.randn(2, 2 * PAIRED - 1, generator=generator(9), dtype=torch.float64)
    many[:, ::2] = few
    expected = calibrated_rise(few, torch.zeros(PAIRED, dtype=torch.long), 0.95)
    assert calibrated_rise(many, torch.zeros(2 * PAIRED - 1, dtype=torch.long), 0.95) == expected
