"""Whether answers fit their targets: sums against NumPy, closed-form networks, whose slope is known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from genuq.errors import GenuqError
from genuq.posteriors.fitting.reading import DoubtfulFitWarning, Reading, ReadingSums, told_of, warn_of
from genuq.processes import FlowMatching, VariancePreserving, target
from support.gaussian_toy import DEVIATION, MEAN, affine_prediction

PREDICTIONS = ("epsilon", "sample", "v_prediction", "flow")
PATHS = {"flow_matching": FlowMatching(), "linear": VariancePreserving("linear")}


def some(count: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(x, answers, targets, times) that have little to do with each other."""
    source = torch.Generator().manual_seed(seed)
    x, f, g = (torch.randn(count, 2, 3, generator=source) for _ in range(3))
    return x, f + 0.2 * g, g - 0.3 * x, torch.rand(count, generator=source)


def gaussian(path: str, prediction: str, count: int = 2000) -> tuple[torch.Tensor, ...]:
    """(x, E[target | x], targets, times) of Gaussian data, at the middles of ten bins."""
    source, process = torch.Generator().manual_seed(1), PATHS[path]
    x0, noise = (torch.randn(count, 3, generator=source, dtype=torch.float64) for _ in range(2))
    x0 = MEAN + DEVIATION * x0
    t = (torch.arange(count) % 10 + 0.5).double() / 10
    lines = [affine_prediction(process, prediction, float(time)) for time in t[:10]]
    slope, intercept = (torch.stack(parts)[torch.arange(count) % 10] for parts in zip(*lines))
    x = process.interpolate(x0, noise, t)
    return x, slope * x + intercept, target(prediction, process, x0, noise, t), t


def read(x: torch.Tensor, f: torch.Tensor, g: torch.Tensor, t: torch.Tensor) -> Reading:
    sums = ReadingSums()
    sums.update(x, f, g, t)
    reading = sums.reading()
    assert reading is not None
    return reading


def test_slopes_and_excess_are_numpys_with_the_spread_over_images() -> None:
    x, f, g, t = some(400)
    reading = read(x, f, g, t)
    for number in range(10):
        inside = ((t * 10).long() == number).numpy()
        rows = [part.double().numpy()[inside].reshape(inside.sum(), -1) for part in (x, f, g)]
        X, F, G = (part.ravel() for part in rows)
        assert reading.slope[number] == pytest.approx(np.linalg.lstsq(F[:, None], G, rcond=None)[0][0], rel=1e-9)
        per_image = [((one - reading.slope[number] * two) * two).sum() for two, one in zip(rows[1], rows[2])]
        error = np.std(per_image, ddof=1) * len(per_image) ** 0.5 / (F @ F)
        assert reading.slope_error[number] == pytest.approx(error, rel=1e-9)
        best = np.linalg.lstsq(X[:, None], G, rcond=None)[0][0]
        lost = [((c - b) ** 2).sum() - ((c - best * a) ** 2).sum() for a, b, c in zip(*rows)]
        assert reading.excess[number] == pytest.approx(np.sum(lost) / (G @ G), rel=1e-9)
        error = np.std(lost, ddof=1) * len(lost) ** 0.5 / (G @ G)
        assert reading.excess_error[number] == pytest.approx(error, rel=1e-9)


def test_sums_of_parts_are_those_of_the_whole_and_are_restored() -> None:
    batch = some(400)
    parts = [ReadingSums(), ReadingSums()]
    for part, rows in zip(parts, (slice(0, 130), slice(130, 400))):
        part.update(*(values[rows] for values in batch))
    added = {name: value + parts[1].sums()[name] for name, value in parts[0].sums().items()}
    restored = ReadingSums()
    restored.restore(added)
    assert restored.reading().slope == pytest.approx(read(*batch).slope, rel=1e-12)
    assert restored.reading().slope_error == pytest.approx(read(*batch).slope_error, rel=1e-9)


def test_sums_of_earlier_versions_say_nothing() -> None:
    sums = ReadingSums()
    sums.restore({"elements": torch.ones(1)})
    assert sums.reading() is None


@pytest.mark.parametrize(("count", "bins"), [(400, 10), (120, 5), (50, 2), (17, 1)])
def test_few_images_are_judged_in_fewer_bins(count: int, bins: int) -> None:
    x, f, g, _ = some(count)
    assert len(read(x, f, g, (torch.arange(count) + 0.5) / count).slope) == bins


def test_too_few_images_are_not_judged() -> None:
    sums = ReadingSums()
    sums.update(*some(15))
    assert sums.reading() is None


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_exact_answer_fits(path: str, prediction: str) -> None:
    reading = read(*gaussian(path, prediction))
    assert not reading.misfits
    for slope, error in zip(reading.slope, reading.slope_error):
        assert abs(slope - 1) < 4 * error + 1e-9
    assert max(reading.excess) < 0


@pytest.mark.parametrize("factor", [0.8, 1.25, -1.0])
def test_answers_that_are_too_large_have_a_known_slope(factor: float) -> None:
    x, f, g, t = gaussian("flow_matching", "flow")
    right, off = read(x, f, g, t), read(x, factor * f, g, t)
    assert off.slope == pytest.approx([slope / factor for slope in right.slope], rel=1e-9)
    (first, *_) = off.misfits
    assert "slope of the targets over the answers is" in first and off.distance > 0.15


def test_answers_of_the_right_slope_that_explain_less_than_a_multiple_of_x_are_noticed() -> None:
    """Little more than a constant says nothing of the noise, which is most of the states."""
    x, _, g, t = gaussian("flow_matching", "flow", 4000)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    reading = read(x, g.mean(0) * 0.5 + noise * 0.01, g, t)
    assert any("explain less of the targets than a multiple of x_t" in clause for clause in reading.misfits)


def test_a_network_that_answers_nothing_is_said_to_explain_less() -> None:
    x, f, g, t = gaussian("flow_matching", "flow")
    (clause,) = read(x, 0 * f, g, t).misfits
    assert "explain less" in clause


def test_a_reading_that_few_images_tell_little_of_is_neither_doubted_nor_certain() -> None:
    vague = Reading([1.1, 0.9], [0.2, 0.2], [-0.5, -0.5], [0.1, 0.1])
    assert not vague.misfits and not vague.certain
    assert Reading([1.01, 0.99], [0.02, 0.02], [-0.5, -0.5], [0.1, 0.1]).certain


def test_the_words_name_what_is_wrong_and_what_would_fit() -> None:
    reading = Reading([1.0, 0.5], [0.01, 0.02], [-0.5, 0.3], [0.1, 0.02])
    told = told_of(reading, ["prediction = epsilon"])
    assert "is 0.50 +- 0.02 for t in [0.5, 1]" in told and "by 30 % of them" in told
    assert "Read otherwise they fit: prediction = epsilon. Change model to that" in told
    assert "None of the other usual readings makes them fit. Check the process" in told_of(reading, [])


def test_a_doubt_is_a_warning_never_an_error_and_shown_once() -> None:
    assert not issubclass(DoubtfulFitWarning, GenuqError)
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        for _ in range(3):
            warn_of(["one and the same doubt"])
    assert [warning.category for warning in caught] == [DoubtfulFitWarning]
