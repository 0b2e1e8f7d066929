"""Random subnetworks: which weights, what curvature, which draws; against the dense Gauss-Newton matrix."""

from __future__ import annotations

import pytest
import torch

from genuq.errors import ArtefactError, ConfigurationError
from genuq.posteriors import DiagonalLaplace, Scale
from genuq.posteriors.curvature.capture import head_features, layer_features, residual_gradients
from genuq.posteriors.subnetwork import SubnetworkLaplace
from support.layer_oracles import case, feed, gauss_newton, layer_jacobian, part, square
from support.posterior_oracles import relative_error

SCALE = Scale(n_effective=40, observation_noise=0.3, prior_precision=0.7, temperature=2.0)
LAYERS = ["entry", "down.1", "middle.1.query_key_value", "condition.time.1", "head"]


def fitted(layers=LAYERS, rows=slice(None), numbers=None, **options):
    model, batch = case("unet")
    posterior = SubnetworkLaplace(model.network, layers, **options)
    feed(posterior, model, part(batch, rows), numbers)
    return posterior


def test_the_curvature_is_the_diagonal_of_the_gauss_newton_matrix():
    model, batch = case("unet")
    posterior = fitted(fraction=0.2)
    for name in LAYERS:
        diagonal = square(gauss_newton(layer_jacobian(model, name, batch))).diagonal()
        assert relative_error(posterior.curvature(name), diagonal[posterior.chosen_S[name]]) < 1e-10, name
        assert posterior.curvature_trace(name) == pytest.approx(float(posterior.curvature(name).sum()))


def test_one_draw_squares_the_gradient_of_each_whole_image():
    model, batch = case("unet")
    numbers = torch.randn(4, *model.shape, dtype=torch.float64)
    posterior = fitted(fraction=0.2, numbers=numbers)
    for name in LAYERS:
        gradients_BOK = torch.einsum("bd,bdok->bok", numbers.flatten(1), layer_jacobian(model, name, batch))
        squares = gradients_BOK.flatten(1).square().sum(0)
        assert relative_error(posterior.curvature(name), squares[posterior.chosen_S[name]]) < 1e-10, name


def test_the_whole_head_is_the_diagonal_laplace_of_the_last_layer():
    model, batch = case("unet")
    posterior, last = fitted("head", fraction=1.0), DiagonalLaplace(model.head)
    last.update(head_features(model, *batch)[1])
    assert relative_error(posterior.curvature("head").reshape(4, -1), last.curvature.expand(4, -1)) < 1e-10
    drawn = posterior.finalise(SCALE).squared_deviations()["head.bias"]
    assert drawn == pytest.approx(float(last.finalise(SCALE)._variance_OK[:, -1].mean()))


@pytest.mark.parametrize("options", [{"fraction": 0.05}, {"fraction": 1e-9}, {"weights": 100}, {"weights": 3}, {}])
def test_as_many_weights_are_chosen_as_asked(options):
    posterior = fitted(**options)
    sizes = {name: mean_OK.numel() for name, mean_OK in posterior.means.items()}
    counts = {name: len(index_S) for name, index_S in posterior.chosen_S.items()}
    if "weights" in options:
        assert sum(counts.values()) == options["weights"] == posterior.moved()
        total = sum(sizes.values())
        assert all(abs(counts[name] - options["weights"] * sizes[name] / total) < 1 for name in counts)
    else:
        fraction = options.get("fraction", 0.1)
        assert counts == {name: max(1, round(fraction * size)) for name, size in sizes.items()}
    for name, index_S in posterior.chosen_S.items():
        assert len(index_S.unique()) == len(index_S) and (index_S < sizes[name]).all()


def test_the_choice_is_keyed_by_layer_and_seed_and_grows():
    model, _ = case("unet")
    wide = SubnetworkLaplace(model.network, fraction=0.3).chosen_S
    alone = SubnetworkLaplace(model.network, "head", fraction=0.3).chosen_S
    assert torch.equal(wide["head"], alone["head"])
    smaller = SubnetworkLaplace(model.network, "head", fraction=0.1).chosen_S["head"]
    assert set(smaller.tolist()) < set(alone["head"].tolist())
    other = SubnetworkLaplace(model.network, "head", fraction=0.3, subset_seed=1).chosen_S["head"]
    assert not torch.equal(other, alone["head"])
    shares = [float((index_S.double() / len(index_S) * 0.3).mean()) for index_S in wide.values() if len(index_S) > 200]
    assert shares and all(0.42 < share < 0.58 for share in shares)  # spread over the whole layer


def test_the_draws_move_the_chosen_weights_alone_by_the_stated_variance():
    posterior = fitted(["entry", "condition.time.1"], fraction=0.3).finalise(SCALE)
    draws = [posterior.draw(index) for index in range(3000)]
    for name, mean_OK in posterior.means.items():
        flat = torch.stack([draw[f"{name}.weight"].flatten(1) for draw in draws])
        bias = torch.stack([draw[f"{name}.bias"][:, None] for draw in draws])
        moved = (torch.cat([flat, bias], 2) - mean_OK).flatten(1)
        index_S = posterior.chosen_S[name]
        wanted = 1 / (40 / 4 / 2.0 / 0.3 * posterior.curvature(name) + 0.7)
        found = moved[:, index_S].square().mean(0)
        assert ((found - wanted).abs() < 5 * wanted * (2 / 3000) ** 0.5).all()
        assert (moved[:, index_S].mean(0).abs() < 5 * (wanted / 3000).sqrt()).all()
        rest = torch.ones(mean_OK.numel(), dtype=torch.bool).index_fill(0, index_S, False)
        assert not moved[:, rest].any()


def test_the_sizes_are_those_of_the_weights_that_it_moves():
    posterior = fitted(fraction=0.2).finalise(SCALE)
    variances = [1 / (40 / 4 / 2.0 / 0.3 * posterior.curvature(name) + 0.7) for name in LAYERS]
    weights = [mean_OK.flatten()[posterior.chosen_S[name]] for name, mean_OK in posterior.means.items()]
    assert posterior.mean_variance() == pytest.approx(float(torch.cat(variances).mean()))
    assert posterior.mean_square() == pytest.approx(float(torch.cat(weights).square().mean()))
    eigenvalues = torch.cat([values for values, _ in posterior.spectrum()])
    assert posterior.mean_eigenvalue() == pytest.approx(float(eigenvalues.mean()))
    drawn = [posterior.draw(index) for index in range(200)]
    sampled = torch.stack(
        [(draw["head.weight"] - posterior.module.head.weight.detach()).square().mean() for draw in drawn]
    )
    assert float(sampled.mean()) == pytest.approx(posterior.squared_deviations()["head.weight"], rel=0.2)


def test_the_squared_norm_of_gradients_is_the_dense_one():
    model, batch = case("unet")
    posterior = fitted(fraction=0.2)
    prediction, inputs, outputs = layer_features(model, LAYERS, *batch)
    residual, gradients = residual_gradients(prediction, torch.randn_like(prediction), outputs)
    wanted = 0.0
    for name in LAYERS:
        per_image = torch.einsum("bd,bdok->bok", residual.flatten(1), layer_jacobian(model, name, batch)).flatten(1)
        wanted += float((per_image[:, posterior.chosen_S[name]].square() / (posterior.curvature(name) + 0.5)).sum())
    assert posterior.mahalanobis(inputs, gradients, 0.5) == pytest.approx(wanted, rel=1e-9)


def test_shards_add_up_and_files_bring_back_the_same_draws(tmp_path):
    numbers = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    whole = fitted(weights=200, numbers=numbers)
    first, second = (fitted(weights=200, rows=rows, numbers=numbers[rows]) for rows in (slice(3, 4), slice(0, 3)))
    first.merge(second)
    assert all(relative_error(first.sums()[key], value) < 1e-12 for key, value in whole.sums().items())
    with pytest.raises(ConfigurationError, match="same kind, options"):
        first.merge(fitted(weights=200, subset_seed=1))
    whole.finalise(SCALE).save(tmp_path / "posterior")
    back = SubnetworkLaplace.load(tmp_path / "posterior", case("unet")[0].network)
    assert back.options() == whole.options() and back.scale == SCALE
    drawn, wanted = back.draw(3, seed=2), whole.draw(3, seed=2)
    assert all(torch.equal(drawn[name], wanted[name]) for name in wanted)
    with pytest.raises(ArtefactError, match="another network"):
        SubnetworkLaplace.load(tmp_path / "posterior", case("dit")[0].network)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fraction": 0.0}, r"posterior\.fraction = 0\.0"),
        ({"fraction": 1.5}, r"posterior\.fraction = 1\.5"),
        ({"weights": 0}, r"posterior\.weights = 0"),
        ({"weights": 10**9}, r"posterior\.weights = 1000000000; the chosen layers have 1 to \d+"),
        ({"weights": 5, "fraction": 0.1}, "exclude each other"),
    ],
)
def test_sizes_that_cannot_be_are_refused(options, said):
    with pytest.raises(ConfigurationError, match=said):
        SubnetworkLaplace(case("unet")[0].network, **options)
