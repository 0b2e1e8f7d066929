"""What a score adds: the likelihood ratio beside a general optimiser, the gain where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import chi2, kstest, norm
from sklearn.metrics import roc_auc_score

from genuq.analysis import ControlsModel, Undefined, nested_gain
from genuq.analysis.nested import keyed_folds, normal_scores

SLOPES = {"class": (-1.8, -0.8, -1.3), "control": 0.8}


def simulated(source: np.random.Generator, effect: float, count: int = 600):
    """A class, a control and a score that goes with the control; the score has an effect of its own, or none."""
    classes = source.integers(0, 3, count)
    control = source.normal(size=count)
    score = 0.6 * control + 0.8 * source.normal(size=count)
    odds = expit(np.array(SLOPES["class"])[classes] + SLOPES["control"] * control + effect * score)
    return score, source.random(count) < odds, control, classes


def log_likelihood(design: np.ndarray, bad: np.ndarray) -> float:
    def loss(coefficients):
        logits = design @ coefficients
        return np.logaddexp(0, logits).sum() - logits[bad].sum()

    def slope(coefficients):
        return design.T @ (expit(design @ coefficients) - bad)

    return -minimize(loss, np.zeros(design.shape[1]), jac=slope, method="BFGS", options={"gtol": 1e-9}).fun


def test_the_likelihood_ratio_is_that_of_a_general_optimiser():
    score, bad, control, classes = simulated(np.random.default_rng(0), 0.5)
    found = nested_gain([score, np.abs(score)], bad, [control], classes=classes, bootstrap=10)
    base = np.concatenate([np.eye(3)[classes], normal_scores(control)[:, None]], axis=1)
    added = np.stack([normal_scores(score), normal_scores(np.abs(score))], axis=1)
    ratio = 2 * (log_likelihood(np.concatenate([base, added], axis=1), bad) - log_likelihood(base, bad))
    assert found.statistic == pytest.approx(ratio, rel=1e-5)
    assert (found.freedom, found.p) == (2, pytest.approx(chi2.sf(ratio, 2), rel=1e-4))


def test_p_values_of_a_score_that_adds_nothing_are_uniform():
    source = np.random.default_rng(1)
    found = []
    for _ in range(100):
        score, bad, control, classes = simulated(source, 0.0, 300)
        found.append(nested_gain([score], bad, [control], classes=classes, folds=2, bootstrap=2).p)
    assert kstest(found, "uniform").pvalue > 0.01


def test_the_gain_is_that_of_an_infinite_sample_and_its_interval_holds_it():
    """The true gain is that of the true odds with the score and of the best model without it, over many samples."""
    source, trials = np.random.default_rng(2), 60
    score, bad, control, classes = simulated(source, 0.8, 200_000)
    # Given the control, the score is normal: the best odds without it go up with class and control alone.
    by_class = np.array(SLOPES["class"])[classes]
    with_score = by_class + SLOPES["control"] * control + 0.8 * score
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    rest = by_class + (SLOPES["control"] + 0.48) * control
    without = sum(weight * expit(rest + 0.64 * node) for node, weight in zip(nodes, weights))
    truth = roc_auc_score(bad, with_score) - roc_auc_score(bad, without)
    found = []
    for _ in range(trials):
        score, bad, control, classes = simulated(source, 0.8)
        found.append(nested_gain([score], bad, [control], classes=classes, folds=5, bootstrap=200).gain)
    assert np.mean([gain.value for gain in found]) == pytest.approx(truth, abs=0.006)
    covered = np.mean([gain.low <= truth <= gain.high for gain in found])
    assert covered >= 0.85  # 0.95 less 3.5 standard errors of 60 trials
    assert np.mean([gain.low > 0 for gain in found]) > 0.5


def test_the_control_itself_adds_nothing():
    score, bad, control, classes = simulated(np.random.default_rng(3), 0.5)
    found = nested_gain([np.exp(control)], bad, [score, control], classes=classes, bootstrap=50)
    assert (found.statistic, found.freedom, found.p) == (0.0, 0, 1.0)
    assert abs(found.gain.value) < 0.005
    by_class = nested_gain([classes * 2.0], bad, [control], classes=classes, bootstrap=50)
    assert by_class.freedom == 0


def test_units_and_monotone_changes_do_not_matter():
    score, bad, control, classes = simulated(np.random.default_rng(4), 0.5)
    once = nested_gain([score], bad, [control], classes=classes, bootstrap=30)
    assert once == nested_gain([np.exp(5 * score)], bad, [1e6 * control], classes=classes + 7, bootstrap=30)
    assert once.gain.value == pytest.approx(once.full.value - once.base.value, abs=1e-12)


def test_the_model_of_the_controls_serves_every_score():
    score, bad, control, classes = simulated(np.random.default_rng(5), 0.5)
    model = ControlsModel(bad, [control], classes=classes, seed=3)
    for one in (score, -score, np.ones(len(bad))):
        assert model.gain([one], bootstrap=20) == nested_gain(
            [one], bad, [control], classes=classes, bootstrap=20, seed=3
        )
    constant = model.gain([np.ones(len(bad))], bootstrap=20)
    assert (constant.gain.value, constant.gain.low, constant.gain.high, constant.freedom) == (0, 0, 0, 0)


def test_without_controls_and_classes_it_is_the_scores_own_auroc():
    score, bad, _, _ = simulated(np.random.default_rng(6), 1.0, 2000)
    found = nested_gain([score], bad, bootstrap=20)
    assert found.base.value == 0.5
    assert found.full.value == pytest.approx(roc_auc_score(bad, score), abs=0.01)


def test_folds_are_keyed_keep_clusters_and_spread_the_bad_samples():
    bad = np.random.default_rng(7).random(500) < 0.1
    folds = keyed_folds(bad, 10, 0)
    assert np.array_equal(folds, keyed_folds(bad, 10, 0)) and not np.array_equal(folds, keyed_folds(bad, 10, 1))
    assert np.ptp(np.bincount(folds)) <= 1 and np.ptp(np.bincount(folds, bad)) <= 1
    clusters = np.random.default_rng(8).integers(0, 90, 500)
    kept = keyed_folds(bad, 10, 0, clusters)
    assert all(len(set(kept[clusters == label])) == 1 for label in set(clusters))
    assert np.ptp(np.bincount(kept, bad)) <= 4


def test_copies_of_a_sample_in_one_cluster_cannot_teach_the_model_their_truth():
    """Each sample four times, and a score that names the sample: apart from its copies the model knows nothing."""
    source = np.random.default_rng(9)
    clusters = np.repeat(np.arange(100), 4)
    bad = (source.random(100) < 0.4)[clusters]
    names = clusters.astype(float)
    aware = nested_gain([], bad, classes=names, clusters=clusters, bootstrap=20)
    naive = nested_gain([], bad, classes=names, bootstrap=20)
    assert aware.base.value == 0.5 and naive.base.value > 0.95


def test_too_few_bad_samples_are_no_model():
    bad = np.arange(100) < 9
    assert nested_gain([np.arange(100)], bad) == Undefined(
        "9 bad and 91 good samples are too few for a model in 10 folds"
    )
    assert "clusters" in nested_gain([np.arange(100)], np.arange(100) < 50, clusters=np.arange(100) // 20).reason


def test_normal_scores_are_quantiles_of_the_ranks():
    found = normal_scores(np.array([3.0, -np.inf, 3.0, 10.0]))
    np.testing.assert_allclose(found, norm.ppf([0.5, 0.125, 0.5, 0.875]))
    assert (normal_scores(np.full(5, 2.0)) == 0).all()


def test_what_is_added_is_the_gain_and_tests_of_separate_samples_add_up():
    source = np.random.default_rng(3)
    control, bad = source.normal(size=300), source.random(300) < 0.4
    score = control + bad + source.normal(size=300)
    model = ControlsModel(bad, [control])
    found, whole, ones = model.added([score]), model.gain([score], bootstrap=20), np.ones((1, 300))
    assert float(found.full(ones)[0] - found.base(ones)[0]) == pytest.approx(whole.gain.value, abs=1e-12)
    assert (found.test.statistic, found.test.p) == pytest.approx((whole.statistic, whole.p))
    assert (found.test + found.test).p == pytest.approx(chi2.sf(2 * whole.statistic, 2))
    assert model.added([control]).test.p == 1.0  # the control itself adds no column
    assert isinstance(ControlsModel(bad[:12], [control[:12]]).added([score[:12]]), Undefined)
