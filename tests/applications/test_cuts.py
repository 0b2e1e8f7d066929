"""States at a cut: their moments, what a region leaves alone, the control's norm, the way to the end."""

from __future__ import annotations

import pytest
import torch

from genuq.applications import (
    Cut,
    cut_samples,
    cut_time,
    drawn_states,
    finish,
    isotropic_states,
    moved_cut,
    renewed_isotropic_states,
    renewed_states,
    uncertain_region,
)
from genuq.errors import ConfigurationError
from genuq.models import Sampler, grid_times, sample
from genuq.propagators import Corrected, propagate
from genuq.solvers import DPMSolverPlusPlus2M, Heun
from support.application_cases import CASE, MODEL, POSTERIOR, SAMPLER, TIME, cut, finished_by_hand


def test_a_cut_is_what_the_sampler_and_the_propagator_say() -> None:
    found = cut()
    assert found.t == TIME == pytest.approx(0.8)
    assert torch.equal(found.images, sample(MODEL, SAMPLER, range(6)))
    known = propagate(MODEL, POSTERIOR, SAMPLER, range(6), cuts=[TIME])
    assert torch.equal(found.variance, known.at(TIME)[1]) and torch.equal(found.final_variance, known.variance)
    assert torch.equal(found.state.double(), known.at(TIME)[0])
    assert len(found.later) == 8 and torch.equal(found.later[-1], known.latents)


@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_drawn_states_have_the_stated_mean_and_variance(spread: float) -> None:
    found = cut()
    draws = torch.stack([drawn_states(found, k, spread=spread) for k in range(800)]).double()
    standard = (draws.mean(0) - found.mean) / (spread**2 * found.variance / 800).sqrt()
    assert standard.std() == pytest.approx(1, abs=0.12)
    assert standard.abs().max() < 4.5  # of 384 standard normal numbers
    ratio = draws.var(0) / (spread**2 * found.variance)
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    assert ratio.std() == pytest.approx((2 / 799) ** 0.5, rel=0.2)


def test_draws_belong_to_sample_and_candidate() -> None:
    whole, alone = cut(), cut_samples(MODEL, POSTERIOR, SAMPLER, [4], 0.8)
    torch.testing.assert_close(drawn_states(alone, 1), drawn_states(whole, 1)[4:5])
    assert not torch.allclose(drawn_states(whole, 0), drawn_states(whole, 1))
    assert not torch.allclose(drawn_states(whole, 0, seed=1), drawn_states(whole, 0), rtol=0, atol=1e-4)


def test_the_control_moves_as_far_in_the_same_region_in_another_direction() -> None:
    found = cut()
    region = uncertain_region(found.final_variance, 0.3)
    drawn = drawn_states(found, 0, spread=5, region=region)
    control = isotropic_states(found, drawn, 0, region=region)
    moves = [(state - found.state).flatten(1) for state in (drawn, control)]
    torch.testing.assert_close(moves[0].norm(dim=1), moves[1].norm(dim=1), rtol=1e-5, atol=0)
    assert torch.nn.functional.cosine_similarity(*moves).abs().max() < 0.8
    outside = ~region.expand_as(drawn)
    for state in (drawn, control):
        assert torch.equal(state[outside], found.state[outside])
        assert not torch.equal(state[~outside], found.state[~outside])


def test_isotropic_noise_knows_nothing_of_the_variance() -> None:
    found = cut(2)
    moves = torch.stack([isotropic_states(found, drawn_states(found, k), k) - found.state for k in range(600)])
    relative = moves.double().square().mean(0)[0].flatten()
    assert relative.std() / relative.mean() < 1.3 * (2 / 600) ** 0.5  # no more than chance of 600 draws gives
    assert found.variance[0].std() / found.variance[0].mean() > 0.2


def clean(found: Cut) -> torch.Tensor:
    """alpha_t x0_hat at the cut from the exact network: for flow matching x0_hat = x_t - t f."""
    slope, intercept = CASE.network.line(round(found.t, 12))
    state = found.state.double()
    return (1 - found.t) * (state - found.t * (slope * state + intercept))


def test_a_cut_knows_the_noise_of_its_states() -> None:
    found = cut()
    assert found.level == pytest.approx(0.8)
    torch.testing.assert_close(found.noise, (found.state.double() - clean(found)) / 0.8, rtol=1e-4, atol=1e-5)


def test_wide_enough_the_noise_is_all_new_and_its_level_stays() -> None:
    found = cut(2)
    for states in (renewed_states, renewed_isotropic_states):
        noise = torch.stack([states(found, k, spread=1e9) for k in range(800)]).double() - clean(found)
        assert noise.square().mean().sqrt() == pytest.approx(0.8, rel=0.01)
        assert (noise.mean(0) / (0.8 / 800**0.5)).std() == pytest.approx(1, abs=0.15)


def test_renewed_noise_has_the_stated_variance_and_the_rest_is_kept() -> None:
    """x = alpha x0_hat + sigma (u eps_hat + sqrt(1 - u^2) xi), with sigma^2 (1 - u^2) = spread^2 V."""
    found = cut(2)
    spread = 0.6 * found.level / float(found.variance.max().sqrt())
    draws = torch.stack([renewed_states(found, k, spread=spread) for k in range(800)]).double()
    kept = (1 - spread**2 * found.variance / found.level**2).sqrt()
    mean = clean(found) + kept * found.level * found.noise
    new = spread**2 * found.variance
    standard = (draws.mean(0) - mean) / (new / 800).sqrt()
    assert standard.std() == pytest.approx(1, abs=0.15) and standard.abs().max() < 4.5
    assert (draws.var(0) / new).mean() == pytest.approx(1, abs=0.02)


def test_a_narrow_spread_renews_what_it_would_have_added() -> None:
    found = cut(3)
    torch.testing.assert_close(renewed_states(found, 1), drawn_states(found, 1), rtol=0, atol=2e-3)
    moves = [(states(found, 1) - found.state).double() for states in (renewed_states, drawn_states)]
    assert torch.nn.functional.cosine_similarity(*(move.flatten(1) for move in moves)).min() > 0.99


def test_the_control_renews_as_much_in_the_same_region() -> None:
    found = cut(4)
    region = uncertain_region(found.final_variance, 0.3)
    spread = 0.8 * found.level / float(found.variance.max().sqrt())
    sizes = []
    for states in (renewed_states, renewed_isotropic_states):
        moves = [states(found, k, spread=spread, region=region) - found.state for k in range(400)]
        assert all(not move[~region.expand_as(move)].any() for move in moves)
        sizes.append(torch.stack(moves).double().square().flatten(2).sum(2).mean(0))
    assert (sizes[1] / sizes[0]).mean() == pytest.approx(1, abs=0.01)


def test_finishing_is_the_exact_way_to_x0() -> None:
    found = cut()
    moved = drawn_states(found, 0, spread=10)
    expected = finished_by_hand(moved, TIME, 8).clamp(-1, 1).float()
    torch.testing.assert_close(finish(MODEL, SAMPLER, found, moved), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("solver", [Heun(), DPMSolverPlusPlus2M()])
def test_held_outside_a_region_nothing_changes_there(solver) -> None:
    sampler = Sampler(solver, steps=10)
    found = cut_samples(MODEL, POSTERIOR, sampler, range(4), 0.8)
    region = uncertain_region(found.final_variance, 0.25, dilate=1)
    images = finish(MODEL, sampler, found, drawn_states(found, 0, spread=20, region=region), region)
    outside = ~region.expand_as(images)
    assert torch.equal(images[outside], found.images[outside])
    assert (images - found.images)[~outside].abs().mean() > 0.01


def test_the_spread_of_finished_draws_is_that_of_the_linear_flow() -> None:
    """In the Gaussian case finishing is linear per pixel: Var x_0 = (product of the steps' slopes)^2 V[x_t]."""
    found = cut(1)
    gain = finished_by_hand(torch.ones_like(found.state), TIME, 8) - finished_by_hand(0 * found.state, TIME, 8)
    unclamped = torch.stack([finished_by_hand(drawn_states(found, k), TIME, 8) for k in range(500)])
    ratio = unclamped.var(0) / (gain.square() * found.variance)
    assert ratio.mean() == pytest.approx(1, abs=0.03)


def test_a_cut_is_the_nearest_time_of_the_grid() -> None:
    sampler = Sampler(DPMSolverPlusPlus2M(), steps=10)  # starts at 0.999
    times = grid_times(MODEL, sampler)
    assert cut_time(MODEL, sampler, 0.8) == pytest.approx(0.7992) and moved_cut(MODEL, sampler, 0.8) is None
    assert cut_time(MODEL, sampler, 0.74) == moved_cut(MODEL, sampler, 0.74) == min(times, key=lambda t: abs(t - 0.74))
    assert cut_time(MODEL, sampler, 0.96) == times[1], "not the start, which is nearer"
    assert cut_time(MODEL, sampler, 0.02) == times[-2], "nor the end"
    with pytest.raises(ConfigurationError, match=r"application\.cut = 1 is the start of the grid"):
        cut_time(MODEL, sampler, 1.0)
    with pytest.raises(ConfigurationError, match=r"application\.cut = 0: .*end of the grid"):
        cut_time(MODEL, sampler, 0.0)


def test_a_grid_of_one_step_has_no_cut() -> None:
    with pytest.raises(ConfigurationError, match=r"application\.cut = 0\.6 is the start of the grid"):
        cut_time(MODEL, Sampler(steps=1), 0.6)


def test_what_is_cut_at_another_time_is_what_is_cut_there() -> None:
    asked, there = (cut_samples(MODEL, POSTERIOR, SAMPLER, range(2), t) for t in (0.83, TIME))
    assert asked.t == there.t and torch.equal(asked.variance, there.variance) and torch.equal(asked.state, there.state)


def test_any_propagator_gives_the_moments() -> None:
    found = cut_samples(MODEL, POSTERIOR, SAMPLER, range(3), 0.8, Corrected())
    known = propagate(MODEL, POSTERIOR, SAMPLER, range(3), Corrected(), cuts=[TIME])
    assert torch.equal(found.variance, known.at(TIME)[1])
    assert CASE.noise > 0 and found.variance.min() > 0
