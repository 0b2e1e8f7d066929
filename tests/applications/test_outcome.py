"""Numbers beside their control: intervals that cover, weights that count as copies, words that follow the numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genuq.analysis import Interval, Undefined, wilson_interval
from genuq.applications.outcome import Comparison, Outcome, Replicates, Rows, clause, weighted_quantile_share
from genuq.errors import DataError


def test_no_trial_has_no_share() -> None:
    assert isinstance(wilson_interval(0, 0), Undefined)


def test_intervals_of_paired_means_cover_the_truth() -> None:
    """Ours = control + 0.3 in expectation, both with a common part that the pairing removes."""
    source, covered, widths = np.random.default_rng(0), 0, []
    for seed in range(200):
        common, rows = 3 * source.standard_normal(60), Rows()
        columns = (common + 0.3 + source.standard_normal(60), common)
        rows.means("gain", columns, Replicates(200, seed))
        found = rows.found[0].difference
        covered += found.low <= 0.3 <= found.high
        widths.append(found.high - found.low)
    assert 0.90 <= covered / 200 <= 0.98
    assert np.mean(widths) == pytest.approx(2 * 1.96 / 60**0.5, rel=0.1)  # of the difference, not of the parts


def test_sets_too_small_for_their_neighbours_are_refused_by_name() -> None:
    source = np.random.default_rng(0)
    ours, control, real = (torch.from_numpy(source.standard_normal((count, 2))) for count in (7, 7, 20))
    with pytest.raises(DataError, match=r"half of 7 samples.*k = 3.*application\.samples"):
        Rows().sets((ours, control), real, 3, 2, Replicates(10))
    Rows().sets((ours, control), real, 2, 2, Replicates(10))


def test_rates_count_only_trials() -> None:
    rows = Rows()
    hits, trials = np.array([1.0, 1, 0, 1]), np.array([1.0, 0, 1, 0])
    rows.rates("success", (hits, trials), (1 - hits, np.ones(4)), Replicates(50))
    found = rows.found[0]
    assert (found.ours.value, found.control.value) == (0.5, 0.25)
    assert found.difference.value == 0.25 and found.n == 4


def test_a_rate_without_trials_is_a_note_not_a_row() -> None:
    rows = Rows()
    rows.rates("success", (np.ones(4), np.ones(4)), (np.ones(4), np.zeros(4)), Replicates(50))
    rows.rates("harm", (np.ones(4), np.zeros(4)), (np.ones(4), np.zeros(4)), Replicates(50))
    alone = wilson_interval(4, 4)
    assert not rows.found and rows.notes == [
        f"No success: there was no trial. The application alone: 1 [{alone.low:.3g}, 1].",
        "No harm: there was no trial.",
    ]


def test_weights_count_as_copies() -> None:
    """What is kept of a weighted set is what sorting the copied set keeps."""
    source = np.random.default_rng(1)
    keys, weights = source.random((5, 12)), source.integers(0, 4, (5, 12)).astype(float)
    targets = np.array([1.0, 3, 5, 7, 9])
    taken = weighted_quantile_share(keys, weights, targets)
    for row in range(5):
        copies = np.repeat(np.arange(12), weights[row].astype(int))
        kept = copies[np.argsort(keys[row][copies], kind="stable")][: int(targets[row])]
        assert taken[row].tolist() == np.bincount(kept, minlength=12).tolist()


@pytest.mark.parametrize(
    ("difference", "lower_is_better", "verdict"),
    [
        (Interval(0.1, 0.05, 0.2), False, "better"),
        (Interval(0.1, 0.05, 0.2), True, "worse"),
        (Interval(-0.1, -0.2, -0.05), False, "worse"),
        (Interval(0.1, -0.05, 0.2), False, "no measurable difference"),
    ],
)
def test_words_follow_the_interval(difference: Interval, lower_is_better: bool, verdict: str) -> None:
    row = Comparison("confidence", Interval(0.8, 0.7, 0.9), Interval(0.7, 0.6, 0.8), difference, 9)
    text = clause(row, "luck", lower_is_better)
    assert text.endswith(f": {verdict})") and "0.8 against 0.7 with luck" in text


def test_an_outcome_is_plain_data() -> None:
    row = Comparison("fid", Interval(1.0, 0.0, 2.0), Interval(3.0, 2.0, 4.0), Interval(-2.0, -3.0, -1.0), 5)
    entry = Outcome("filter", "luck", {"kept": 3}, [row], "So it is.").as_entry()
    assert entry.outcome[0].control_low == 2.0 and entry.outcome[0].difference_high == -1.0
    assert entry.control == "luck" and entry.settings == {"kept": 3} and list(entry.notes) == []
