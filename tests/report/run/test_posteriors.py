"""Posteriors side by side: their words, the curve that chose their scale, and results older than all that."""

import matplotlib
import numpy as np
import pytest

from genuq.analysis.results import PosteriorEntry
from genuq.analysis.score_entries import NOTHING, IntervalRow
from genuq.entries import from_json
from genuq.files import plain
from genuq.posteriors import POSTERIORS as KNOWN_POSTERIORS
from genuq.report.drawing.canvas import figure_of
from genuq.report.drawing.vocabulary import BASELINES, CRITERIA, OVER_HEAD, POSTERIORS, glossary_of
from genuq.report.run import panels
from genuq.report.run import posteriors as side_by_side
from genuq.scores import SCORES
from support.made_run import typed
from support.rich_run import evidence, posteriors, predictive


@pytest.fixture
def entries():
    return plain(posteriors(4))


def posterior(entry):
    return from_json(PosteriorEntry, entry)


def drawn(plot, room=panels.CRITERION, **about):
    return figure_of([lambda axes: plot(axes, **about)], room).axes[0]


def test_every_posterior_and_baseline_has_words():
    assert set(POSTERIORS) == set(KNOWN_POSTERIORS)
    assert set(BASELINES) == set(SCORES.names(kind="baseline"))
    assert all(label and sentence for label, sentence in (*POSTERIORS.values(), *BASELINES.values()))
    assert set(OVER_HEAD) == {"exact_laplace", "diagonal_laplace", "isotropic"}


def test_the_glossary_has_the_posteriors_of_the_run_and_no_others(run, entries):
    results = run[0] | {"posteriors": entries[1:]}
    results["scores"][1]["name"] = "divergence"
    found = set(glossary_of(typed(results)))
    assert {"fid", "kfac", "deep_ensemble", "divergence"} <= found
    assert not {"swag", "exact_laplace", "aleatoric"} & found


def test_the_evidence_is_counted_from_its_maximum(entries):
    grid, curve = evidence()
    criterion = side_by_side.criterion_of(posterior(entries[0]))
    assert criterion.name == "Log marginal likelihood" and criterion.chosen == grid[int(np.argmax(curve))]
    np.testing.assert_allclose(criterion.y, np.subtract(curve, max(curve)))
    assert not criterion.at_the_edge


def test_the_predictive_density_chooses_the_variance_of_the_residuals(entries):
    criterion = side_by_side.criterion_of(posterior(entries[1]))
    grid, _ = predictive()
    assert criterion.name == "Held-out log predictive density"
    assert criterion.chosen == min(grid, key=lambda factor: abs(np.log(0.16 + 1e-3 * factor) - np.log(0.17)))


def test_a_size_that_was_given_has_no_curve(entries):
    assert side_by_side.criterion_of(posterior(entries[2])) is None
    entries[0]["scale"]["criterion"] = "perturbation"
    assert side_by_side.criterion_of(posterior(entries[0])) is None, "the evidence was made, but it did not decide"
    assert side_by_side.criterion_words(posterior(entries[0])) == CRITERIA["perturbation"]


def test_a_prior_given_by_hand_is_not_called_a_maximum(entries):
    entries[0]["evidence"], entries[0]["scale"]["how"]["prior_precision"] = None, "given"
    assert side_by_side.criterion_words(posterior(entries[0])) == "given"
    without_reason = posterior(entries[0] | {"scale": entries[0]["scale"] | {"how": {}}})
    assert side_by_side.criterion_words(without_reason) == "–"


def test_results_without_a_criterion_are_of_the_evidence(entries):
    entries[0]["scale"]["criterion"] = None
    assert side_by_side.criterion_of(posterior(entries[0])).name == "Log marginal likelihood"


def test_missing_points_are_left_out_of_a_curve(entries):
    entries[1]["predictive"][1][3] = None
    assert len(side_by_side.criterion_of(posterior(entries[1])).x) == 64
    entries[1]["predictive"] = [[None], [None]]
    assert side_by_side.criterion_of(posterior(entries[1])) is None


@pytest.mark.parametrize("place", [0, -1])
def test_a_choice_at_the_edge_is_said(entries, place):
    entries[0]["scale"]["prior_precision"] = entries[0]["evidence"][0][place]
    text = side_by_side.describe_criterion(side_by_side.criterion_of(posterior(entries[0])))
    assert "the edge of what was tried" in text


def test_the_curve_marks_the_choice_and_shows_what_is_near(entries):
    criterion = side_by_side.criterion_of(posterior(entries[0]))
    axes = drawn(side_by_side.criterion_curve, criterion=criterion)
    marks = [line for line in axes.lines if line.get_marker() == "D"]
    assert [list(line.get_xdata()) for line in marks] == [[criterion.chosen]]
    np.testing.assert_allclose(marks[0].get_ydata(), [0], atol=1e-9)
    x = max(axes.lines, key=lambda line: len(line.get_xdata())).get_xdata()
    assert np.abs(np.log10(np.asarray(x) / criterion.chosen)).max() <= 3 < np.log10(criterion.chosen / criterion.x[0])
    assert "mathdefault" not in "".join(tick.get_text() for tick in axes.get_xticklabels())


def test_the_noise_profile_has_a_step_for_each_bin(entries):
    axes = drawn(side_by_side.noise_profile, entry=posterior(entries[1]))
    steps = [patch for patch in axes.patches if isinstance(patch, matplotlib.patches.StepPatch)]
    values, edges, _ = steps[-1].get_data()
    assert list(values) == entries[1]["noise_profile"]
    np.testing.assert_allclose(edges, np.arange(9) / 8)


def test_draws_of_all_posteriors_share_one_axis(run, entries):
    results = typed(run[0] | {"posteriors": entries})
    assert side_by_side.judged(results) == results.posteriors
    axes = drawn(side_by_side.draws_quality, panels.quality_room(results), entries=results.posteriors)
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [list(line.get_xdata()) for line in dots] == [entry["quality"]["fid_draws"] for entry in entries]
    assert [set(line.get_ydata()) for line in dots] == [{0}, {1}, {2}]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["exact laplace", "kfac all layers", "deep ensemble"]


def test_a_posterior_without_judged_draws_is_left_out(run, entries):
    entries[1]["quality"] = {"fid_map": 16.0, "fid_draws": [None, None]}
    entries[2]["quality"] = {"fid_map": None, "fid_draws": []}
    found = typed(run[0] | {"posteriors": entries})
    assert side_by_side.judged(found) == list(found.posteriors[:1])
    assert side_by_side.fid_of_draws(found.posteriors[0]) == IntervalRow(16.7, 16.2, 17.3)
    assert side_by_side.fid_of_draws(found.posteriors[1]) == NOTHING


def test_names_say_what_the_run_calls_them(entries):
    assert [side_by_side.posterior_name(posterior(entry)) for entry in entries] == [
        "Exact Laplace",
        "KFAC Laplace (kfac all layers)",
        "Deep ensemble",
    ]
    assert side_by_side.posterior_name(posterior(entries[0] | {"name": "new_kind", "label": "new_kind"})) == "New kind"
