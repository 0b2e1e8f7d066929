"""Fitting through a whole network: capture, batches, and everything that is refused."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from genuq.errors import ConfigurationError, NonFiniteError
from genuq.models import GenerativeModel
from genuq.posteriors import ExactLastLayerLaplace, ScaleOptions, build, fit, swapped
from genuq.posteriors.curvature.capture import active_outputs, head_features, residuals_at_head
from genuq.posteriors.fitting.regression import regression_batches
from genuq.randomness import FITTING, generator
from support.posterior_oracles import (
    NETWORKS,
    Tiny,
    gauss_newton,
    image_data,
    independent_channels,
    jacobian,
    network_case,
    relative_error,
    tiny_model,
)

FIXED = ScaleOptions(observation_noise=1.0, prior_precision=1.0, temperature=1.0)


def fitted_batch(model, data, images, seed=0):
    """The images that `fit` fits on, as one batch."""
    order = torch.randperm(len(data), generator=generator(seed, 0, "fitting order"))[:images].tolist()
    return next(regression_batches(model, data, order, images, seed, FITTING))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_curvature_of_a_fit_is_autograds_through_the_whole_network(name):
    model, data = network_case(name)
    posterior = fit(model, data, images=5, held_out=0, batch_size=2, scale=FIXED).posterior
    batch = fitted_batch(model, data, 5)

    def predict(values):
        named = {f"head.{key}": value for key, value in values.items()}
        return functional_call(model.network, named, (batch.x.double(), batch.t.double(), batch.y))

    wanted = gauss_newton(jacobian(model.head, predict))
    assert relative_error(independent_channels(posterior.curvature, posterior.active_O), wanted) < 1e-10


@pytest.mark.parametrize("name", NETWORKS)
def test_the_fisher_of_a_fit_is_autograds_image_by_image(name):
    model, data = network_case(name)
    options = {"kind": "diagonal_laplace", "convention": "empirical_fisher"}
    posterior = fit(model, data, images=4, held_out=0, batch_size=3, scale=FIXED, **options).posterior
    batch = fitted_batch(model, data, 4)
    wanted = torch.zeros_like(posterior.curvature)
    for i in range(4):
        loss = (
            0.5 * (model(batch.x[i : i + 1], batch.t[i : i + 1], batch.y[i : i + 1]) - batch.target[i]).square().sum()
        )
        gradients = torch.autograd.grad(loss, [model.head.weight, model.head.bias])
        wanted += torch.cat([gradient.reshape(len(wanted), -1) for gradient in gradients], 1).square()
    assert relative_error(posterior.curvature, wanted) < 1e-9


@pytest.mark.parametrize("name", NETWORKS)
def test_the_fit_does_not_depend_on_the_batch_size(name):
    model, data = network_case(name)
    one, three = (fit(model, data, images=7, held_out=5, batch_size=size) for size in (1, 3))
    assert relative_error(three.posterior.curvature, one.posterior.curvature) < 1e-9
    for key in ("n_effective", "observation_noise", "prior_precision", "temperature"):
        assert getattr(three.chosen.scale, key) == pytest.approx(getattr(one.chosen.scale, key), rel=1e-9)
    first, second = (result.posterior.draw(0)["weight"] for result in (one, three))
    assert relative_error(first, second) < 1e-9


@pytest.mark.parametrize("kind", ["exact_laplace", "diagonal_laplace"])
def test_the_fit_does_not_change_the_model(kind):
    model = tiny_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = fit(model, image_data(), kind, images=5, held_out=3, batch_size=2)
    with swapped(model.head, result.posterior.draw(0)):
        assert not torch.equal(model.head.weight, before["network.head.weight"])
    after = model.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)
    assert all(value.requires_grad and value.grad is None for value in model.parameters())
    assert not model.head._forward_hooks and not model.head._forward_pre_hooks and torch.is_grad_enabled()


def test_the_result_tells_what_was_done():
    steps = []
    result = fit(
        tiny_model(), image_data(), images=5, held_out=3, batch_size=2, progress=lambda *step: steps.append(step)
    )
    assert steps == [(2, 8), (4, 8), (5, 8), (7, 8), (8, 8)]
    assert 0 < result.forward_seconds < result.seconds
    assert (
        result.posterior.n_seen == 5 and result.held_out.images == 3 and result.posterior.scale == result.chosen.scale
    )
    assert result.chosen.scale.observation_noise == result.held_out.residual_variance
    assert result.chosen.scale.n_effective == 24


def test_fitting_and_held_out_images_are_disjoint(monkeypatch):
    data, asked = image_data(), []
    batch = type(data).batch
    monkeypatch.setattr(type(data), "batch", lambda self, indices: asked.append(list(indices)) or batch(self, indices))
    fit(tiny_model(), data, images=14, held_out=10, batch_size=24)
    first_look, fitting, held_out = asked
    assert sorted(fitting + held_out) == list(range(24)) and first_look == fitting[:2]


# Networks that genuq has never seen --------------------------------------------------------------------------------


class Foreign(nn.Module):
    """Another call signature, another head name, two extra output channels (a learned variance), half precision."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Conv2d(1, 6, 3, padding=1)
        self.decoder = nn.ModuleDict({"out": nn.Conv2d(6, 3, 3, padding=1, bias=False)})

    def forward(self, *, noisy, timestep, label=None):
        h = torch.tanh(self.trunk(noisy) + timestep.reshape(-1, 1, 1, 1) / 1000)
        return {"sample": self.decoder["out"](h)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_third_partys_module_is_fitted_through_its_adapter(dtype):
    torch.manual_seed(0)
    network = Foreign().to(dtype)

    def call(network, x, t_B, y_B):
        return network(noisy=x.to(dtype), timestep=(1000 * t_B).to(dtype))["sample"][:, :1]

    model = GenerativeModel(network, (1, 8, 8), "variance_preserving", "epsilon", call=call, head="decoder.out")
    data = image_data()
    posterior = fit(model, data, images=6, held_out=4, batch_size=4).posterior
    assert posterior.active_O.tolist() == [True, False, False]
    batch = fitted_batch(model, data, 6)
    with torch.no_grad():
        h = torch.tanh(network.trunk(batch.x.to(dtype)) + (1000 * batch.t).to(dtype).reshape(-1, 1, 1, 1) / 1000)
    a_KP = F.unfold(h.double(), 3, padding=1).transpose(0, 1).flatten(1)
    tolerance = 1e-6 if dtype == torch.float32 else 0.02  # a batch of 6 rounds differently from one of 4
    assert relative_error(posterior.curvature, a_KP @ a_KP.T) < tolerance
    draw = posterior.draw(0)
    assert draw["weight"].dtype == dtype and torch.equal(draw["weight"][1:], network.decoder["out"].weight[1:])
    with swapped(model.head, draw):
        assert torch.equal(network.decoder["out"].weight, draw["weight"])


def test_residuals_reach_the_head_through_a_rearrangement():
    model = tiny_model(head=nn.Conv2d(4, 6, 1), behind=lambda f: F.pixel_shuffle(f[:, 1:5], 2))
    x, t = torch.randn(2, 1, 8, 8), torch.rand(2)
    prediction, features, output = head_features(model, x, t, None)
    target = torch.randn_like(prediction)
    residual, at_head = residuals_at_head(prediction, target, output)
    assert torch.equal(residual, prediction.detach() - target) and not features.requires_grad
    assert torch.equal(F.pixel_shuffle(at_head[:, 1:5], 2), residual)
    assert torch.equal(at_head[:, [0, 5]], torch.zeros(2, 2, 8, 8))


def add_in_place(f):
    f += 1.0
    return f


@pytest.mark.parametrize(
    ("behind", "active"),
    [
        (lambda f: f, [1, 1, 1, 1]),
        (lambda f: F.pixel_shuffle(f, 2), [1, 1, 1, 1]),
        (lambda f: f[:, [3, 1]], [0, 1, 0, 1]),
        (lambda f: f.flatten(1).roll(5, 1), [1, 1, 1, 1]),
        (lambda f: f + 3.0, [1, 1, 1, 1]),
        (add_in_place, [1, 1, 1, 1]),
    ],
)
def test_rearrangements_and_constants_behind_the_head_are_accepted(behind, active):
    model = tiny_model(head=nn.Conv2d(4, 4, 1), behind=behind)
    found = active_outputs(model, torch.randn(2, 1, 8, 8), torch.rand(2), None)
    assert found.tolist() == [bool(value) for value in active]


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        (lambda f: 2 * f, "not a mere rearrangement"),
        (lambda f: -f, "not a mere rearrangement"),
        (torch.tanh, "not a mere rearrangement"),
        (F.relu, "not a mere rearrangement"),
        (nn.Conv2d(4, 4, 3, padding=1), "not a mere rearrangement"),
        (lambda f: f + f.flip(-1), "not a mere rearrangement"),
        (lambda f: F.interpolate(f, scale_factor=2), "not a mere rearrangement"),
        (lambda f: F.avg_pool2d(f, 2), "not a mere rearrangement"),
        (lambda f: f[..., 1:-1, 1:-1], "positions .* dropped"),
        (lambda f: f.detach(), "does not depend on model.head"),
    ],
)
def test_anything_else_behind_the_head_is_refused(behind, said):
    model = tiny_model(head=nn.Conv2d(4, 4, 1), behind=behind)
    with pytest.raises(ConfigurationError, match=said):
        active_outputs(model, torch.randn(2, 1, 8, 8), torch.rand(2), None)


# Refused, with the reason -------------------------------------------------------------------------------------------


class Gained(nn.Conv2d):
    """A Conv2d in name, whose weight is scaled on the fly."""

    def forward(self, x):
        return 0.5 * super().forward(x)


class Twice(Tiny):
    def forward(self, x, t, y=None):
        return self.head(self.head(x))


class Never(Tiny):
    def forward(self, x, t, y=None):
        return F.conv2d(self.entry(x), self.head.weight, padding=1)


class RowsOfTokens(Tiny):
    def forward(self, x, t, y=None):
        return self.head(x.reshape(-1, 8)).reshape(x.shape)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (Tiny(nn.Conv2d(4, 4, 1, stride=2)), "stride"),
        (Tiny(nn.Conv2d(4, 2, 1, groups=2)), "groups"),
        (Tiny(nn.Conv2d(4, 1, 3, padding=2, dilation=2)), "dilation"),
        (Tiny(Gained(4, 1, 3, padding=1)), "Gained, does not compute"),
        (Tiny(behind=lambda f: 2 * f), "rearrangement"),
        (Twice(nn.Conv2d(1, 1, 1)), "runs more than once"),
        (Never(), "never reached"),
        (RowsOfTokens(nn.Linear(8, 8)), "rows for 2 images"),
    ],
)
def test_heads_without_an_exact_posterior_are_refused(network, said):
    model = GenerativeModel(network, (1, 8, 8), head="head")
    with pytest.raises(ConfigurationError, match=said):
        fit(model, image_data(), images=4, held_out=2)
    assert not model.head._forward_hooks and torch.is_grad_enabled()


class Tied(Tiny):
    """The head's weight is the entry's, too."""

    def __init__(self):
        super().__init__(nn.Conv2d(1, 1, 3, padding=1))
        self.entry = nn.Conv2d(1, 1, 3, padding=1)
        self.entry.weight = self.head.weight


def test_a_tied_head_is_refused_by_the_names_of_its_weight():
    model = GenerativeModel(Tied(), (1, 8, 8), head="head")
    with pytest.raises(ConfigurationError, match=r"model\.head = 'head' has tied weights .*entry\.weight"):
        fit(model, image_data(), images=4, held_out=2)


def test_a_frozen_head_is_fitted_like_any_other():
    free, frozen = tiny_model(), tiny_model()
    frozen.requires_grad_(False)
    first, second = (fit(model, image_data(), images=5, held_out=3).posterior for model in (free, frozen))
    assert torch.equal(first.curvature, second.curvature)
    with swapped(frozen.head, second.draw(0)):
        assert not frozen.head.weight.requires_grad


def test_a_group_norm_is_no_head():
    with pytest.raises(ConfigurationError, match=r"model\.head = 'norm'"):
        GenerativeModel(nn.ModuleDict({"norm": nn.GroupNorm(2, 4), "head": nn.Conv2d(4, 1, 1)}), (1, 8, 8), head="norm")


@pytest.mark.parametrize("name", ["entry.weight", "head.bias"])
def test_broken_weights_are_refused_by_name(name):
    model = tiny_model()
    model.network.get_parameter(name).data.view(-1)[0] = float("nan")
    with pytest.raises(NonFiniteError, match=f"weight 'network.{name}'"):
        fit(model, image_data(), images=4, held_out=2)


def test_broken_activations_are_refused():
    model = tiny_model()
    model.network.entry.register_forward_hook(lambda module, inputs, output: output * float("nan"))
    with pytest.raises(NonFiniteError, match=r"input of model\.head = 'head'"):
        fit(model, image_data(), images=4, held_out=2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": 20, "held_out": 5}, r"posterior\.images \+ posterior\.held_out = 25, but noise has 24"),
        ({"images": 0}, r"posterior\.images = 0"),
        ({"held_out": 0}, r"posterior\.held_out = 0"),
        ({"batch_size": 0}, r"posterior\.batch_size = 0"),
        ({"kind": "exact_laplas"}, r"posterior\.name = 'exact_laplas'.*Did you mean 'exact_laplace'"),
        ({"kind": "isotropic"}, r"posterior\.prior_precision"),
        ({"convention": "ggn"}, r"'exact_laplace' cannot be built from \['convention'\]"),
    ],
)
def test_requests_that_cannot_work_are_refused_by_key(changes, said):
    with pytest.raises(ConfigurationError, match=said):
        fit(tiny_model(), image_data(), **{"images": 4, "held_out": 2, **changes})


def test_isotropic_noise_of_a_wanted_size_is_fitted():
    scale = ScaleOptions(relative_perturbation=0.05)
    result = fit(tiny_model(), image_data(), "isotropic", images=4, held_out=2, scale=scale)
    assert result.posterior.relative_perturbation() == pytest.approx(0.05)


def test_build_gives_an_empty_posterior_over_the_models_head():
    model = tiny_model()
    posterior = build("exact_laplace", model)
    assert isinstance(posterior, ExactLastLayerLaplace) and posterior.n_seen == 0
    assert posterior.mean_OK.shape == (1, 4 * 9 + 1)


# The regression problem -----------------------------------------------------------------------------------------


def test_the_batches_are_the_same_images_times_and_noises_at_any_batch_size():
    model, data, chosen = tiny_model(), image_data(), [5, 2, 11, 7, 0]
    whole = next(regression_batches(model, data, chosen, 5, 3, FITTING))
    parts = list(regression_batches(model, data, chosen, 2, 3, FITTING))
    for name in ("x", "t", "target"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))


def test_times_are_stratified_and_targets_are_the_models():
    model, data = tiny_model(), image_data()
    batch = next(regression_batches(model, data, list(range(24)), 24, 0, FITTING))
    assert sorted((batch.t * 24).int().tolist()) == list(range(24))
    t, images = batch.t[:, None, None, None], data.batch(list(range(24)))[0]
    noise = (batch.x - (1 - t) * images) / t  # flow matching: x_t = (1 - t) x_0 + t eps, target eps - x_0
    error = ((noise - images - batch.target).abs() * t).amax()
    assert float(error) < 1e-5
    for first, second in itertools.combinations(range(3), 2):
        assert not torch.allclose(noise[first], noise[second], atol=0.1)


def test_a_plain_tensor_is_training_data():
    model, data = tiny_model(), image_data()
    named, plain = (fit(model, source, images=5, held_out=3).posterior for source in (data, data.items))
    assert torch.equal(named.curvature, plain.curvature)
