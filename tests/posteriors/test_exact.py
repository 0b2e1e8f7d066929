import functools
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genuq.errors import ConfigurationError, NonFiniteError
from genuq.posteriors import DiagonalLaplace, ExactLastLayerLaplace, Scale
from genuq.posteriors import exact as exact_module
from genuq.posteriors.curvature import head as head_module
from genuq.posteriors.curvature.gram_sums import ConvSums
from support.posterior_oracles import (
    HEADS,
    gauss_newton,
    head_case,
    independent_channels,
    layer_jacobian,
    relative_error,
)

SCALE = Scale(n_effective=40, observation_noise=0.3, prior_precision=0.7, temperature=2.0)


def fitted(layer, features, active=None):
    posterior = ExactLastLayerLaplace(layer, active)
    posterior.update(features)
    return posterior


@pytest.mark.parametrize("name", HEADS)
def test_the_curvature_is_the_gauss_newton_matrix_of_autograd(name):
    layer, features = head_case(name)
    posterior = fitted(layer, features)
    wanted = gauss_newton(layer_jacobian(layer, features))
    assert relative_error(independent_channels(posterior.curvature, posterior.active_O), wanted) < 1e-10


BEHIND = {
    "pixel shuffle": (lambda f: F.pixel_shuffle(f, 2), [True] * 4),
    "permuted": (lambda f: f.flip(1).permute(0, 3, 1, 2), [True] * 4),
    "last two channels dropped": (lambda f: f[:, :2], [True, True, False, False]),
    "shuffled, then dropped": (lambda f: F.pixel_shuffle(f, 2)[..., ::2], [True, False, True, False]),
}


@pytest.mark.parametrize("name", BEHIND)
def test_a_rearrangement_behind_the_head_changes_nothing(name):
    behind, active = BEHIND[name]
    torch.manual_seed(0)
    layer, features = nn.Conv2d(3, 4, 3, padding=1).double(), torch.randn(3, 3, 4, 5, dtype=torch.float64)
    posterior = fitted(layer, features, torch.tensor(active))
    wanted = gauss_newton(layer_jacobian(layer, features, behind))
    assert relative_error(independent_channels(posterior.curvature, posterior.active_O), wanted) < 1e-10


@pytest.mark.parametrize("name", ["3x3", "4x4, same, no bias", "linear on tokens"])
@pytest.mark.parametrize("sizes", [(1,) * 7, (3, 4), (6, 1)])
def test_streaming_in_any_split_gives_the_same_curvature(name, sizes):
    layer, features = head_case(name, images=7)
    whole, streamed = fitted(layer, features), ExactLastLayerLaplace(layer)
    for part in features.split(sizes):
        streamed.update(part)
    assert relative_error(streamed.curvature, whole.curvature) < 1e-13
    assert streamed.n_seen == whole.n_seen == 7


def test_a_large_batch_is_summed_in_parts_of_bounded_memory(monkeypatch):
    layer, features = head_case("3x3", images=7)
    whole = fitted(layer, features).curvature
    monkeypatch.setattr(exact_module, "VALUES_AT_ONCE", 2 * features[0].numel())
    posterior, seen = ExactLastLayerLaplace(layer), []
    original = ConvSums.add
    monkeypatch.setattr(ConvSums, "add", lambda sums, part: seen.append(len(part)) or original(sums, part))
    posterior.update(features)
    assert seen == [2, 2, 2, 1]
    assert relative_error(posterior.curvature, whole) < 1e-13


def test_shards_merge_in_any_order():
    layer, features = head_case("3x3", images=6)
    whole = fitted(layer, features)
    for order in itertools.permutations(range(3)):
        shards = [fitted(layer, features[2 * i : 2 * i + 2]) for i in order]
        merged = functools.reduce(lambda first, second: first.merge(second) or first, shards)
        assert relative_error(merged.curvature, whole.curvature) < 1e-13
        assert merged.n_seen == 6


def test_only_equals_merge():
    layer, features = head_case("3x3")
    other, _ = head_case("3x3")
    other.weight.data[0, 0, 0, 0] += 1
    refused = {
        "another head": ExactLastLayerLaplace(other),
        "another kind": DiagonalLaplace(layer),
        "other active channels": ExactLastLayerLaplace(layer, torch.tensor([True, False])),
    }
    posterior = fitted(layer, features)
    before = posterior.curvature.clone()
    for what, shard in refused.items():
        with pytest.raises(ConfigurationError, match="can be merged"):
            posterior.merge(shard)
        assert torch.equal(posterior.curvature, before) and posterior.n_seen == len(features), what


def test_conventions_do_not_merge():
    layer, _ = head_case("3x3")
    with pytest.raises(ConfigurationError, match="options"):
        DiagonalLaplace(layer).merge(DiagonalLaplace(layer, convention="empirical_fisher"))


def test_the_covariance_is_the_inverse_of_the_stated_precision():
    layer, features = head_case("3x3")
    posterior = fitted(layer, features).finalise(SCALE)
    rows = layer_jacobian(layer, features)[:, 0]
    precision = (40 / 4 / 2.0) / 0.3 * rows.T @ rows + 0.7 * torch.eye(rows.shape[1], dtype=torch.float64)
    assert relative_error(posterior.covariance(), torch.linalg.inv(precision)) < 1e-9
    assert posterior.mean_variance() == pytest.approx(float(torch.linalg.inv(precision).diagonal().mean()), rel=1e-9)


def test_finalising_again_starts_from_the_sums():
    layer, features = head_case("3x3")
    posterior = fitted(layer, features)
    wide = posterior.finalise(Scale(40, 0.3, 0.7, temperature=50.0)).covariance()
    posterior.finalise(SCALE)
    assert torch.equal(posterior.rescaled(temperature=50.0).covariance(), wide)


@pytest.mark.parametrize("rows_at_once", [1, 5, 1000])
def test_the_predictive_variance_is_the_quadratic_form_at_every_position(rows_at_once, monkeypatch):
    monkeypatch.setattr(head_module, "ROWS_AT_ONCE", rows_at_once)
    torch.manual_seed(0)
    layer, features = nn.Conv2d(2, 3, 3, padding=1).double(), torch.randn(4, 2, 5, 6, dtype=torch.float64)
    posterior = fitted(layer, features, torch.tensor([True, False, True])).finalise(SCALE)
    a_BKP = F.pad(F.unfold(features, 3, padding=1), (0, 0, 0, 1), value=1.0)
    quadratic_BP = torch.einsum("bkp,kl,blp->bp", a_BKP, posterior.covariance(), a_BKP)
    variance = posterior.predictive_variance(features)
    assert variance.shape == layer(features).shape
    for channel in (0, 2):
        assert relative_error(variance[:, channel], quadratic_BP.reshape(4, 5, 6)) < 1e-12
    assert torch.equal(variance[:, 1], torch.zeros(4, 5, 6))


@pytest.mark.parametrize("name", ["linear on a grid of tokens", "linear, flat", "linear, no bias"])
def test_the_predictive_variance_of_a_linear_head(name):
    layer, features = head_case(name)
    posterior = fitted(layer, features).finalise(SCALE)
    a = F.pad(features, (0, 1), value=1.0) if layer.bias is not None else features
    quadratic = (a @ posterior.covariance() * a).sum(-1, keepdim=True)
    assert relative_error(posterior.predictive_variance(features), quadratic.expand(layer(features).shape)) < 1e-12


def test_features_of_half_precision_are_summed_in_float64():
    layer, features = head_case("3x3", images=64)
    half = features.half()
    assert relative_error(fitted(layer, half).curvature, fitted(layer, half.double()).curvature) == 0


def test_new_data_void_the_scale():
    layer, features = head_case("3x3")
    posterior = fitted(layer, features).finalise(SCALE)
    posterior.update(features)
    with pytest.raises(ConfigurationError, match="finalise"):
        posterior.draw(0)
    posterior.finalise(SCALE).merge(fitted(layer, features))
    with pytest.raises(ConfigurationError, match="finalise"):
        posterior.predictive_variance(features)


@pytest.mark.parametrize("use", [lambda p: p.draw(0), lambda p: p.covariance(), lambda p: p.mean_variance()])
def test_nothing_is_drawn_before_the_scale_is_fixed(use):
    layer, features = head_case("3x3")
    with pytest.raises(ConfigurationError, match="finalise"):
        use(fitted(layer, features))


def test_no_scale_without_data():
    with pytest.raises(ConfigurationError, match="seen no data"):
        ExactLastLayerLaplace(head_case("3x3")[0]).finalise(SCALE)


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (nn.Conv2d(4, 2, 3, stride=2), r"stride=\(2, 2\)"),
        (nn.Conv2d(4, 2, 3, groups=2), "groups=2"),
        (nn.Conv2d(4, 2, 3, dilation=2), r"dilation=\(2, 2\)"),
        (nn.Conv2d(4, 2, 3, padding=1, padding_mode="reflect"), "padding_mode=reflect"),
        (nn.GroupNorm(2, 4), "GroupNorm"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), "computed"),
    ],
)
def test_unsuitable_layers_are_refused_by_name(layer, named):
    with pytest.raises(ConfigurationError, match=named):
        ExactLastLayerLaplace(layer)


@pytest.mark.parametrize("active", [[True], [False, False], [True] * 3])
def test_active_channels_must_fit_the_head(active):
    with pytest.raises(ConfigurationError, match="2 output channels"):
        ExactLastLayerLaplace(head_case("3x3")[0], torch.tensor(active))


def test_broken_weights_and_features_are_refused():
    layer, features = head_case("3x3")
    with pytest.raises(NonFiniteError, match="curvature"):
        fitted(layer, features / 0).finalise(SCALE)
    layer.weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="weight 'weight' has 1 NaN"):
        ExactLastLayerLaplace(layer)


def test_a_singular_precision_says_what_to_raise():
    layer, features = head_case("3x3", images=1)
    with pytest.raises(ConfigurationError, match=r"posterior\.prior_precision = 1e-30"):
        fitted(layer, 1e6 * features[:, :, :2, :2]).finalise(Scale(1, 1e-6, 1e-30))
