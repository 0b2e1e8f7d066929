"""The score table in pictures: every sample is in a bar or counted in the caption."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from genuq.analysis.kept_means import kept_means
from genuq.report.study import score_table
from genuq.report.study.score_table import score_figures

SCORE = np.random.default_rng(0).normal(size=300)
OTHER = -SCORE + 0.5 * np.random.default_rng(1).normal(size=300)
MEANS = kept_means(SCORE, OTHER, [1.0, 0.5], replicates=20)


def drawn(other: np.ndarray = OTHER, threshold: float = 0.0) -> dict[str, tuple[Axes, str]]:
    figures = score_figures(SCORE, other, ("entropy", "realism"), threshold, MEANS)
    return {name: (figure.axes[0], " ".join(t.get_text() for t in figure.texts)) for name, figure in figures.items()}


def test_bars_count_every_sample_and_those_that_are_kept() -> None:
    axes, caption = drawn(threshold=0.5)["histogram"]
    every, kept = (sum(bar.get_height() for bar in bars) for bars in axes.containers)
    assert (every, kept) == (300, np.count_nonzero(SCORE <= 0.5))
    assert axes.lines[0].get_xdata()[0] == 0.5 and caption == "N = 300 samples."


def test_hexagons_count_the_finite_ones_and_the_caption_the_others() -> None:
    other = OTHER.copy()
    other[:7] = np.inf
    axes, caption = drawn(other)["against"]
    assert axes.collections[0].get_array().sum() == 293 and "7 of them lie outside of the plot." in caption


def test_what_is_kept_is_drawn_beside_the_mean_of_all() -> None:
    axes, _ = drawn()["kept"]
    line, level = axes.lines
    np.testing.assert_array_equal(line.get_ydata(), [mean.value for mean in MEANS.mean])
    assert level.get_ydata()[0] == pytest.approx(OTHER.mean()) and axes.xaxis_inverted()


def test_of_many_samples_the_tails_lie_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_table, "MANY", 100)
    monkeypatch.setattr(score_table, "TAIL", 0.01)
    assert "6 of them" in drawn()["histogram"][1]  # three at each end


@pytest.mark.parametrize(("values", "span"), [([np.nan], (0.0, 1.0)), ([2.0, 2.0], (1.5, 2.5)), ([1.0, 3.0], (1, 3))])
def test_a_range_is_never_empty(values: list[float], span: tuple[float, float]) -> None:
    assert score_table._range(np.array(values)) == span
