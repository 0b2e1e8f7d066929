"""SWAG against numpy: moments of the snapshots, covariance of the draws, files, shards."""

import numpy as np
import pytest
import torch
from torch import nn

from genuq.errors import ArtefactError, ConfigurationError
from genuq.posteriors import Scale
from genuq.posteriors.swag import Swag

ONE = Scale(1, 1, 1)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(3, 1).double()


def snapshots(count, drift=0.0, seed=0, size=0.1):
    """(count, 4) correlated sets of weights around the trained ones."""
    source = np.random.default_rng(seed)
    mixing = np.array([[1, 0.8, 0, 0], [0, 0.6, 0, 0], [0, 0, 1, 0], [0, 0, -0.5, 0.3]])
    moved = size * source.standard_normal((count, 4)) @ mixing + drift * np.arange(count)[:, None]
    return flat(dict(network().named_parameters())).numpy() + moved


def flat(weights):
    return torch.cat([weights["weight"].detach().flatten(), weights["bias"].detach()])


def fitted(rows, rank=10, scale=ONE):
    posterior = Swag(network(), rank)
    for row in torch.as_tensor(rows):
        posterior.update({"weight": row[:3].reshape(1, 3), "bias": row[3:]})
    return posterior.finalise(scale) if scale else posterior


def stated_covariance(rows, rank):
    """Half the variances of all snapshots, half the sample covariance of the last ones."""
    return 0.5 * np.diag(rows.var(0)) + 0.5 * np.cov(rows[-rank:].T)


@pytest.mark.parametrize(("count", "rank", "drift"), [(6, 10, 0.0), (9, 4, 0.0), (9, 4, 0.2)])
def test_the_draws_have_the_moments_of_the_snapshots(count, rank, drift):
    rows, number = snapshots(count, drift), 5_000  # errors of 2 % of a variance
    posterior = fitted(rows, rank, Scale(1, 1, 1, 1.7))
    drawn = torch.stack([flat(posterior.draw(index)) for index in range(number)]).numpy()
    stated = 1.7 * stated_covariance(rows, rank)
    variances = np.diag(stated)
    assert (np.abs(drawn.mean(0) - rows.mean(0)) < 5 * np.sqrt(variances / number)).all()
    error = np.sqrt((np.outer(variances, variances) + stated**2) / number)
    assert (np.abs(np.cov(drawn.T) - stated) < 5 * error).all()
    assert posterior.mean_variance() == pytest.approx(variances.mean(), rel=1e-5)
    trained = flat(dict(network().named_parameters())).numpy()
    shift = np.sqrt(((rows.mean(0) - trained) ** 2).mean() / (trained**2).mean())
    squares = ((drawn - trained) ** 2).mean(0)
    assert posterior.squared_deviations() == pytest.approx({"weight": squares[:3].mean(), "bias": squares[3]}, rel=0.1)
    assert posterior.relative_shift() == pytest.approx(shift, rel=1e-6)


def test_moments_of_tiny_deviations_lose_no_digits():
    """A billionth of the weights: uncentred squares would leave nothing."""
    rows = snapshots(8, size=1e-9)
    posterior = fitted(rows)
    variances = torch.cat([posterior.diagonal("weight").flatten(), posterior.diagonal("bias")]).numpy()
    assert variances == pytest.approx((rows - rows[0]).var(0), rel=1e-5)


def test_a_draw_is_the_same_whatever_else_was_drawn():
    alone = flat(fitted(snapshots(5)).draw(7, seed=4))
    posterior = fitted(snapshots(5))
    torch.manual_seed(1)
    posterior.draw(2, seed=4)
    assert torch.equal(flat(posterior.draw(7, seed=4)), alone)
    for other in (posterior.draw(8, seed=4), posterior.draw(7, seed=5)):
        assert not torch.equal(flat(other), alone)


def test_it_comes_back_with_the_same_draws_and_goes_on(tmp_path):
    rows = snapshots(7)
    half = fitted(rows[:5], rank=3, scale=None)
    half.save(tmp_path / "swag")
    back = Swag.load(tmp_path / "swag", network())
    whole = fitted(rows, rank=3)
    for row in torch.as_tensor(rows[5:]):
        back.update({"weight": row[:3].reshape(1, 3), "bias": row[3:]})
    assert back.rank == 3 and back.n_seen == 7
    assert torch.equal(flat(back.finalise(ONE).draw(3)), flat(whole.draw(3)))


def test_another_checkpoint_is_refused(tmp_path):
    fitted(snapshots(4)).save(tmp_path / "swag")
    with pytest.raises(ArtefactError, match="another network"):
        Swag.load(tmp_path / "swag", network(seed=1))


def test_two_chains_merge_into_one_of_all_their_snapshots():
    rows = snapshots(9)
    one, two = fitted(rows[:4], rank=4), fitted(rows[4:8], rank=4)
    one.merge(two)
    assert one.scale is None
    merged, whole = one.finalise(ONE), fitted(rows[:8], rank=8)
    assert torch.allclose(flat(merged.draw(5)), flat(whole.draw(5)), atol=1e-12)
    assert merged.mean_variance() == pytest.approx(whole.mean_variance())


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_below_two_is_refused(rank):
    with pytest.raises(ConfigurationError, match=r"posterior\.rank"):
        Swag(network(), rank)


def test_a_single_snapshot_is_refused():
    with pytest.raises(ConfigurationError, match="1 snapshots; at least 2"):
        fitted(snapshots(1))
