"""The frontier of a score's settings: the numbers of the library's own measures, and those that nothing beats."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from genuq.analysis.evaluation_entries import SettingEntry
from genuq.analysis.frontier import Labels, ScoredSetting, efficient, frontier
from genuq.analysis.nested import nested_gain
from genuq.analysis.score_entries import NOTHING, IntervalRow

OPTIONS = {"bootstrap": 50, "seed": 1}


def scored(samples: int = 200) -> tuple[list[ScoredSetting], Labels]:
    random = np.random.default_rng(0)
    full_N = random.normal(size=samples)
    bad_N = full_N + random.normal(size=samples) > 1
    settings = [
        ScoredSetting({"points": [1.0], "members": m}, full_N + random.normal(size=samples) / m, 1 + m / 10, 0.1 * m)
        for m in (1, 2)
    ]
    settings.append(ScoredSetting({"points": [1.0], "members": 3}, full_N, 1.3))
    return settings, Labels(bad_N, np.arange(samples) % 10 == 0, np.arange(samples) % 3)


def test_each_setting_is_measured_as_the_library_measures_a_score() -> None:
    settings, labels = scored()
    kept_N = ~np.asarray(labels.left_out)
    for entry, one in zip(frontier(settings, labels, **OPTIONS), settings):
        assert (entry.setting, entry.cost, entry.seconds) == (one.setting, one.cost, one.seconds)
        assert entry.spearman.value == pytest.approx(spearmanr(one.values, settings[-1].values).statistic)
        classes = np.asarray(labels.classes)[kept_N]
        found = nested_gain([one.values[kept_N]], labels.bad[kept_N], classes=classes, **OPTIONS)
        assert entry.auroc == IntervalRow.of(found.full)


def test_what_is_unknown_is_left_out() -> None:
    settings, labels = scored()
    assert all(entry.auroc is None for entry in frontier(settings, Labels(), **OPTIONS))
    few = Labels(np.arange(200) < 3)  # too few bad ones for the folds
    assert all(entry.auroc is None for entry in frontier(settings, few, **OPTIONS))
    constant = [ScoredSetting({}, np.ones(200), 1.1), settings[-1]]
    assert frontier(constant, labels, **OPTIONS)[0].spearman.value in (None, 0.0)


def test_those_that_nothing_cheaper_matches_are_left() -> None:
    def entry(cost: float, value: float | None) -> SettingEntry:
        return SettingEntry({}, cost, None, NOTHING if value is None else IntervalRow(value, None, None))

    entries = [entry(1.3, 0.9), entry(1.1, 0.5), entry(1.1, 0.6), entry(1.2, 0.6), entry(1.2, None), entry(2.0, 1.0)]
    assert [(one.cost, one.spearman.value) for one in efficient(entries, "spearman")] == [
        (1.1, 0.6),
        (1.3, 0.9),
        (2.0, 1.0),
    ]
    assert efficient(entries, "auroc") == []
