"""The statistics of a leaderboard against brute force, and what planted scores must get."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2
from sklearn.metrics import roc_auc_score

from genuq.analysis import Interval, Undefined, holm, nested_gain, over_best_control
from genuq.leaderboard.results import ScoreColumn
from genuq.leaderboard.rows import Gain, Over, statistics
from support.made_board import board, scored, sets


def row(found, score, fault="broken", seed=None):
    rows = found.rows if seed is None else found.by_seed
    (one,) = [one for one in rows if (one.score, one.fault, one.seed) == (score, fault, seed)]
    return one


@pytest.fixture(scope="module")
def made():
    return sets()


@pytest.fixture(scope="module")
def found(made, tmp_path_factory):
    return statistics(made, board(tmp_path_factory.mktemp("board")))


def broken_or_valid(one):
    return one.valid | one.faults["broken"]


def test_aurocs_are_of_the_fault_against_valid_samples_and_the_mean_over_seeds(made, found) -> None:
    wanted = []
    for one in made:
        kept = broken_or_valid(one)
        wanted.append(roc_auc_score(one.faults["broken"][kept], one.columns["lid"].values[kept]))
        assert row(found, "lid", seed=one.condition.seed).auroc.value == pytest.approx(wanted[-1], abs=1e-12)
    together = row(found, "lid")
    assert together.auroc.value == pytest.approx(np.mean(wanted), abs=1e-12)
    assert together.auroc.low < together.auroc.value < together.auroc.high
    assert together.seeds == 2
    assert together.bad == sum(one.faults["broken"].sum() for one in made)
    assert together.good == sum(one.valid.sum() for one in made)


def test_within_classes_pairs_are_of_one_class(tmp_path) -> None:
    one = scored(classes=4)
    shifted = one.columns["lid"].values + 10 * one.classes
    one = replace(one, columns=dict(one.columns) | {"lid": replace(one.columns["lid"], values=shifted)})
    found, kept = statistics([one], board(tmp_path)), broken_or_valid(one)
    wins = pairs = 0.0
    for label in range(4):
        of_class = kept & (one.classes == label)
        bad, good = (shifted[of_class & chosen] for chosen in (one.faults["broken"], one.valid))
        wins += (bad[:, None] > good).sum()
        pairs += len(bad) * len(good)
    assert row(found, "lid").auroc.value == pytest.approx(wins / pairs, abs=1e-12)


def test_a_planted_score_wins_and_a_random_one_does_not(found) -> None:
    planted, random = row(found, "renoised_disagreement"), row(found, "entropy")
    assert planted.auroc.low > 0.8
    assert planted.gain.interval.low > 0 and planted.gain.q < 1e-6
    assert planted.over.interval.low > 0 and planted.over.chosen == ("lid",)
    assert random.auroc.low < 0.5 < random.auroc.high
    assert random.gain.interval.low <= 0.005 and random.gain.q > 0.05
    assert random.over.interval.high < 0
    other = row(found, "renoised_disagreement", "rule_broken")
    assert other.auroc.low < 0.5 < other.auroc.high


def test_the_gain_is_that_of_the_nested_model_and_the_tests_of_seeds_add_up(made, found) -> None:
    single = []
    for one in made:
        kept = broken_or_valid(one)
        entropy, lid = (one.columns[name].values[kept] for name in ("entropy", "lid"))
        wanted = nested_gain([entropy], one.faults["broken"][kept], [lid], seed=one.condition.seed)
        single.append(wanted)
        ours = row(found, "entropy", seed=one.condition.seed).gain
        assert ours.interval.value == pytest.approx(wanted.gain.value, abs=1e-12)
        assert ours.p == pytest.approx(wanted.p)
    gain = row(found, "entropy").gain
    assert gain.interval.value == pytest.approx(np.mean([one.gain.value for one in single]))
    assert gain.p == pytest.approx(chi2.sf(sum(one.statistic for one in single), sum(one.freedom for one in single)))
    assert gain.controls == ("lid",) and not gain.by_class
    assert row(found, "lid").gain is None  # no control but itself


def test_complexity_joins_the_controls_where_the_board_says_so(tmp_path) -> None:
    made = board(tmp_path, controls=["random", "lid", "complexity"], nested=["lid", "complexity"])
    assert row(statistics([scored()], made), "entropy").gain.controls == ("lid", "complexity")


def test_the_best_control_costs_no_more_and_was_chosen_on_the_other_half(made, found) -> None:
    one = made[0]
    kept = broken_or_valid(one)
    values = {name: column.values[kept] for name, column in one.columns.items()}
    cheap = {name: values[name] for name in ("random", "lid")}  # jitter costs 20, more than 16
    wanted = over_best_control(values["renoised_disagreement"], cheap, one.faults["broken"][kept], seed=0)
    ours = row(found, "renoised_disagreement", seed=0).over
    assert ours.interval.value == pytest.approx(wanted.difference.value, abs=1e-12)
    assert ours.chosen == ("lid",)
    assert row(found, "lid").over is None and row(found, "random").over is None


def test_a_row_says_whether_its_score_is_a_control_of_the_board_whatever_its_kind(found) -> None:
    assert row(found, "lid").is_control and row(found, "random").is_control
    assert not row(found, "entropy").is_control


def test_cost_and_auroc_for_each_evaluation(found) -> None:
    one = row(found, "renoised_disagreement")
    assert (one.evaluations, one.seconds) == (16.0, pytest.approx(0.01))
    assert one.per_evaluation.value == pytest.approx((one.auroc.value - 0.5) / 16)
    assert row(found, "random").per_evaluation is None and row(found, "random").seconds is None


def test_the_direction_was_fixed_beforehand(made, tmp_path) -> None:
    turned = statistics(made, board(tmp_path, directions={"lid": "lower"}))
    straight = statistics(made, board(tmp_path))
    assert row(turned, "lid").auroc.value == pytest.approx(1 - row(straight, "lid").auroc.value)


def test_declared_comparisons_are_adjusted_together(made, found) -> None:
    over_lid, nested, random = found.declared
    assert over_lid.difference.value == pytest.approx(
        row(found, "renoised_disagreement").auroc.value - row(found, "lid").auroc.value
    )
    assert nested.difference == row(found, "renoised_disagreement").gain.interval
    np.testing.assert_allclose(
        [one.adjusted for one in found.declared], holm([one.p for one in (over_lid, nested, random)])
    )
    assert over_lid.p < 0.1 and nested.adjusted < 0.001 and random.difference.value < 0  # of two training seeds


def test_declared_comparisons_that_could_not_be_made_count_as_unshown(made, tmp_path) -> None:
    """Beside two that are missing, a p-value is taken times as many as of three known ones."""
    absent = [{"score": "entropy", "control": "lid", "fault": fault, "data": "glyphs"} for fault in ("none", "such")]
    weak = {"score": "entropy", "control": "random", "fault": "broken", "data": "glyphs"}
    found = statistics(made, board(tmp_path, primary=[absent[0], weak, absent[1]])).declared
    np.testing.assert_allclose(found[1].adjusted, holm([found[1].p, 1.0, 1.0])[0])
    assert found[1].adjusted == pytest.approx(3 * found[1].p) and found[1].p > 0
    assert found[0].adjusted is None and found[2].adjusted is None


def test_what_lacks_says_why(made, tmp_path) -> None:
    elsewhere = [replace(one, condition=replace(one.condition, data="other")) for one in made]
    assert [one.difference.reason for one in statistics(elsewhere, board(tmp_path)).declared] == [
        "its samples are missing"
    ] * 3
    without = [
        replace(one, columns={name: kept for name, kept in one.columns.items() if name != "entropy"}) for one in made
    ]
    assert "no score 'entropy'" in statistics(without, board(tmp_path)).declared[2].difference.reason
    sound = [replace(one, faults={"broken": np.zeros_like(one.valid)}) for one in made]
    found = statistics(sound, board(tmp_path))
    assert all(isinstance(one.auroc, Undefined) and isinstance(one.gain, Undefined | None) for one in found.rows)


def test_few_bad_samples_are_marked(tmp_path) -> None:
    few = statistics([scored(samples=600, bad=0.1)], board(tmp_path))
    assert row(few, "lid").few and few.declared[0].few
    many = statistics([scored(samples=1200, bad=0.4)], board(tmp_path))
    assert not row(many, "lid").few


def test_a_seed_without_any_bad_sample_does_not_count(made, tmp_path) -> None:
    sound = replace(made[1], faults={"broken": np.zeros_like(made[1].valid)})
    together = row(statistics([made[0], sound], board(tmp_path)), "lid")
    assert together.seeds == 1 and together.bad == made[0].faults["broken"].sum()


def test_samples_that_are_left_out_are_not_good_but_have_their_own_faults(tmp_path) -> None:
    one = scored()
    outside = np.zeros_like(one.valid)
    outside[::3] = True
    found = row(statistics([replace(one, left_out=outside)], board(tmp_path)), "lid")
    assert (found.bad, found.good) == (one.faults["broken"].sum(), (one.valid & ~outside).sum())


def test_one_bad_kind_leaves_the_tables_of_the_others_as_they_are(made, tmp_path) -> None:
    """With `metric.bad=[broken]` a set leaves out what has another fault alone."""
    narrow = [replace(one, left_out=~one.valid & ~one.faults["broken"]) for one in made]
    assert narrow[0].left_out.any()
    found, wanted = (statistics(group, board(tmp_path)).rows for group in (narrow, made))
    assert found == wanted


def test_intervals_of_a_random_score_cover_chance(tmp_path) -> None:
    covered = []
    made = board(tmp_path, primary=None, scores=["entropy"], controls=["random"], nested=None)
    for seed in range(40):
        one = scored(seed, samples=200)
        one = replace(one, columns={"random": one.columns["random"]})
        interval = row(statistics([one], made), "random").auroc
        covered.append(not interval.excludes(0.5))
    assert sum(covered) >= 34  # of 40 at 95 %, with 99.9 % certainty


def test_with_few_seeds_the_interval_is_wider_than_within_one(made, found) -> None:
    between = [row(found, "jitter", seed=seed).auroc.value for seed in (0, 1)]
    together = row(found, "jitter").auroc
    assert together.high - together.low > 0.5 * abs(between[0] - between[1])


def test_a_new_column_of_a_set_is_a_row(made, tmp_path) -> None:
    column = ScoreColumn(np.arange(len(made[0].valid), dtype=float), "Mine", "score", 2.0, 0.1, False)
    named = [replace(one, columns=dict(one.columns) | {"my:own": column}) for one in made]
    mine = row(statistics(named, board(tmp_path)), "my:own")
    assert isinstance(mine.auroc, Interval) and isinstance(mine.gain, Gain) and mine.over.chosen == ("random",)
    assert isinstance(mine.over, Over) and 0 <= mine.over.p <= 1
