"""IVON's posterior against numpy: moments of the draws, mixtures, files, what the prior decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from genuq.errors import ArtefactError, CheckpointError, ConfigurationError, NonFiniteError
from genuq.posteriors import Scale, prior_dominance
from genuq.posteriors.fitting.scale import factor_to_reach
from genuq.posteriors.ivon import Ivon
from genuq.posteriors.members import prior_sizes

ONE = Scale(1, 1, 1)
MOVED = torch.tensor([0.1, -0.2, 0.05, 0.3], dtype=torch.float64)
VARIANCES = torch.tensor([0.04, 0.01, 0.0025, 0.09], dtype=torch.float64)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Linear(3, 1).double()


def split(values: Tensor) -> dict[str, Tensor]:
    return {"weight": values[:3].reshape(1, 3), "bias": values[3:]}


def flat(weights: dict[str, Tensor]) -> Tensor:
    return torch.cat([weights["weight"].detach().flatten(), weights["bias"].detach()])


def trained() -> Tensor:
    return flat(dict(network().named_parameters()))


def fitted(*ends: tuple[Tensor, Tensor], scale: Scale | None = ONE) -> Ivon:
    posterior = Ivon(network())
    for moved, variances in ends or [(MOVED, VARIANCES)]:
        posterior.update(split(trained() + moved), split(variances))
    return posterior.finalise(scale) if scale else posterior


def test_the_draws_have_the_mean_and_the_variances_that_were_learnt() -> None:
    number, posterior = 5_000, fitted(scale=Scale(1, 1, 1, 1.7))
    drawn = torch.stack([flat(posterior.draw(index)) for index in range(number)]).numpy()
    mean, stated = (trained() + MOVED).numpy(), np.diag(1.7 * VARIANCES.numpy())
    variances = np.diag(stated)
    assert (np.abs(drawn.mean(0) - mean) < 5 * np.sqrt(variances / number)).all()
    error = np.sqrt((np.outer(variances, variances) + stated**2) / number)
    assert (np.abs(np.cov(drawn.T) - stated) < 5 * error).all()
    assert posterior.mean_variance() == pytest.approx(variances.mean(), rel=1e-9)
    squares = MOVED.numpy() ** 2 + variances
    assert posterior.squared_deviations() == pytest.approx({"weight": squares[:3].mean(), "bias": squares[3]}, rel=1e-9)
    shift = np.sqrt((MOVED.numpy() ** 2).mean() / (trained().numpy() ** 2).mean())
    assert posterior.relative_shift() == pytest.approx(shift, rel=1e-9)


def test_the_relative_perturbation_counts_the_shift_of_the_mean() -> None:
    posterior = fitted(scale=Scale(1, 1, 1, 1.7))
    size = (trained().numpy() ** 2).mean()
    wanted = np.sqrt((MOVED.numpy() ** 2 + 1.7 * VARIANCES.numpy()).mean() / size)
    assert posterior.relative_perturbation() == pytest.approx(wanted, rel=1e-9)
    assert prior_dominance(posterior).relative_move == pytest.approx(wanted, rel=1e-9)
    drawn = torch.stack([flat(posterior.draw(index)) for index in range(4_000)]) - trained()
    assert posterior.relative_perturbation() == pytest.approx(float(drawn.square().mean() / size) ** 0.5, rel=0.03)


def test_a_wanted_perturbation_is_reached_with_the_shift_and_never_below_it() -> None:
    posterior = fitted()
    shift = posterior.relative_shift()
    factor = factor_to_reach(posterior, 1.5 * shift)
    assert posterior.rescaled(temperature=factor).relative_perturbation() == pytest.approx(1.5 * shift, rel=1e-9)
    for target in (shift, 0.5 * shift):
        with pytest.raises(ConfigurationError, match=r"posterior\.relative_perturbation = .* by 0\.\d+ already"):
            factor_to_reach(fitted(), target)


def test_of_two_trainings_it_has_the_moments_of_their_mixture() -> None:
    other = (-MOVED, 3 * VARIANCES)
    one, two = fitted(), fitted(other)
    one.merge(two)
    assert one.scale is None and one.n_seen == 2
    both = fitted((MOVED, VARIANCES), other)
    assert torch.equal(flat(one.finalise(ONE).draw(5)), flat(both.draw(5)))
    stated = 2 * VARIANCES + MOVED.square()  # within, and between means of MOVED and -MOVED
    assert torch.allclose(torch.cat([both.diagonal("weight").flatten(), both.diagonal("bias")]), stated, rtol=1e-12)
    assert torch.allclose(both.mean("bias"), torch.zeros(1, dtype=torch.float64), atol=1e-15)


def test_a_draw_is_the_same_whatever_else_was_drawn_and_after_a_file(tmp_path: Path) -> None:
    posterior = fitted()
    alone = flat(posterior.draw(7, seed=4))
    torch.manual_seed(1)
    posterior.save(tmp_path / "ivon")
    back = Ivon.load(tmp_path / "ivon", network())
    assert back.n_seen == 1 and torch.equal(flat(back.draw(7, seed=4)), alone)
    for other in (back.draw(8, seed=4), back.draw(7, seed=5)):
        assert not torch.equal(flat(other), alone)
    with pytest.raises(ArtefactError, match="another network"):
        Ivon.load(tmp_path / "ivon", network(seed=1))


def test_frozen_weights_have_no_variance() -> None:
    posterior = Ivon(network())
    posterior.update(split(trained() + MOVED), {"weight": VARIANCES[:3].reshape(1, 3)})
    assert torch.allclose(posterior.finalise(ONE).draw(0)["bias"], trained()[3:] + MOVED[3:], rtol=1e-15)


def test_what_the_data_decide_is_beside_the_prior() -> None:
    """Variances 1 / (l (h + d)) with 1 / (l d) the prior's: h / (h + d) of each weight."""
    sizes = prior_sizes(dict(network().named_parameters()), 0.02)
    prior = flat({"weight": torch.full((1, 3), sizes["weight"] ** 2), "bias": torch.full((1,), sizes["bias"] ** 2)})
    curvature, delta = torch.tensor([3.0, 1.0, 0.5, 0.0]), 0.7
    posterior = fitted((MOVED, prior * delta / (curvature + delta)), scale=Scale(1, 1, 1, 2.0))
    found = prior_dominance(posterior)
    assert found.parameters == 4
    assert found.effective_parameters == pytest.approx(float((curvature / (curvature + delta)).sum()), rel=1e-6)
    trace = 2.0 * float((prior * delta / (curvature + delta)).sum() / prior.sum())
    assert found.trace_ratio == pytest.approx(trace, rel=1e-6)


@pytest.mark.parametrize(("left", "told"), [(0.049, True), (0.999**300, False)])
def test_the_data_are_not_said_to_decide_what_the_first_guess_of_the_curvature_does(
    left: float, told: bool, tmp_path: Path
) -> None:
    posterior = Ivon(network(), initial_share=left)
    posterior.update(split(trained() + MOVED), split(VARIANCES))
    posterior.finalise(ONE).save(tmp_path / "ivon")
    for one in (posterior, Ivon.load(tmp_path / "ivon", network())):
        found = prior_dominance(one)
        assert (found.effective_parameters is not None) == told == (found.decided_by_data is not None)
        assert found.parameters == 4 and found.trace_ratio is not None


def test_what_cannot_be_an_end_is_refused() -> None:
    posterior = Ivon(network())
    with pytest.raises(ArtefactError, match="variance of weight 'bias' is below 0"):
        posterior.update(split(trained()), split(-VARIANCES) | {"weight": VARIANCES[:3].reshape(1, 3)})
    with pytest.raises(NonFiniteError, match="variance of weight 'weight'"):
        posterior.update(split(trained()), split(VARIANCES * float("nan")))
    with pytest.raises(CheckpointError, match="no weight 'bias'"):
        posterior.update({"weight": trained()[:3].reshape(1, 3)})
    assert posterior.n_seen == 0
    with pytest.raises(ConfigurationError, match="call update"):
        posterior.finalise(ONE)
