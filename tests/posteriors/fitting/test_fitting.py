"""Fitting through a whole network: capture, batches, and everything that is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from genuq.errors import ConfigurationError, DataError, NonFiniteError
from genuq.models import GenerativeModel
from genuq.posteriors import ExactLastLayerLaplace, ScaleOptions, build, fit, swapped
from genuq.posteriors.fitting.regression import regression_batches
from genuq.randomness import FITTING, generator
from support.posterior_oracles import (
    NETWORKS,
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
    _, first_look, fitting, held_out = asked  # the first item is looked at before the fit
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
    assert draw["weight"].dtype == torch.float32, "a deviation is not rounded to half precision"
    assert torch.equal(draw["weight"][1:], network.decoder["out"].weight[1:].float())
    with swapped(model.head, draw):
        moved = call(network, batch.x, batch.t, None)
    plain = call(network, batch.x, batch.t, None)
    assert relative_error(moved - plain, plain) > 0


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
        ({"kind": "exact_laplas"}, r"posterior\.name: 'exact_laplas' does not exist.*Did you mean 'exact_laplace'"),
        ({"kind": "isotropic"}, r"posterior\.prior_precision"),
        ({"convention": "ggn"}, "'exact_laplace' has no option 'convention'"),
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


def test_a_plain_tensor_is_training_data():
    model, data = tiny_model(), image_data()
    named, plain = (fit(model, source, images=5, held_out=3).posterior for source in (data, data.items))
    assert torch.equal(named.curvature, plain.curvature)


class Attending(nn.Module):
    """Torch's own attention, and a layer that no forward pass uses, in front of a head."""

    def __init__(self):
        super().__init__()
        self.entry, self.unused = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Conv2d(4, 1, 1)

    def forward(self, x, t, y=None):
        h = self.entry(x)
        tokens = h.flatten(2).mT
        return self.head(h + self.attention(tokens, tokens, tokens)[0].mT.reshape(h.shape))


@pytest.mark.parametrize("kind", ["kfac", "subnetwork_laplace"])
def test_layers_that_only_a_pattern_matched_are_left_out_where_they_never_run(kind):
    torch.manual_seed(0)
    model = GenerativeModel(Attending(), (1, 8, 8))
    posterior = fit(
        model, image_data(), kind, images=4, held_out=2, batch_size=2, layers=["all"], scale=FIXED
    ).posterior
    assert posterior.layer_names == ["entry", "head"]
    assert posterior.excluded.keys() == {"unused", "attention.out_proj"}
    assert posterior.excluded["unused"] == "is never run in a forward pass"
    with pytest.raises(ConfigurationError, match=r"never reached posterior\.layers = 'unused'"):
        fit(model, image_data(), kind, images=4, held_out=2, layers=["all", "unused"], scale=FIXED)


def compiled(network: nn.Module) -> nn.Module:
    """Compiled to the graph of autograd, which shows what compiled networks do, without a C++ compiler's minute."""
    return torch.compile(network, backend="aot_eager")


@pytest.mark.parametrize("kind", ["exact_laplace", "kfac"])
def test_a_compiled_network_is_fitted_as_the_one_within_it_also_after_its_first_call(kind):
    """Oracle: the network that was compiled. Hooks that come after a compiled module's first call are never run."""
    torch.manual_seed(0)
    plain, x, t = tiny_model(), torch.randn(2, 1, 8, 8), torch.rand(2)
    network = compiled(plain.network)
    network(x, t)
    options = {"images": 4, "held_out": 2, "batch_size": 2, "scale": FIXED, "fisher_draws": 2}
    wanted = fit(plain, image_data(), kind, **options).posterior.sums()
    for model in (GenerativeModel(network, (1, 8, 8), head="head"), compiled(plain)):
        model(x, t)
        found = fit(model, image_data(), kind, **options).posterior
        assert found.sums().keys() == wanted.keys()
        assert all(torch.equal(found.sums()[name], value) for name, value in wanted.items())


def test_compiled_parts_of_a_network_are_named_before_the_fit():
    inner, in_place = tiny_model(), tiny_model()
    inner.network.entry = compiled(inner.network.entry)
    in_place.network.head.compile(backend="aot_eager")
    later = tiny_model()
    later.network = compiled(later.network)
    for model, name in ((inner, r"network\.entry"), (in_place, r"network\.head"), (later, "network")):
        with pytest.raises(ConfigurationError, match=rf"the model: {name} is compiled.*_orig_mod"):
            fit(model, image_data(), images=4, held_out=2, scale=FIXED)


class ClassOffset(nn.Module):
    """The exact flow of images that are constant in a value of their class: labels are all that it needs to know."""

    def __init__(self) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor([-0.8, 0.0, 0.8]), requires_grad=False)
        self.head = nn.Conv2d(1, 1, 1)
        nn.init.ones_(self.head.weight), nn.init.zeros_(self.head.bias)

    def forward(self, x, t, y):
        return self.head((x - self.values[y][:, None, None, None]) / t[:, None, None, None])


def test_labels_of_a_tensor_reach_the_model():
    """With its own class an image leaves no residual; taken as class 0 throughout it leaves one of its whole offset."""
    model = GenerativeModel(ClassOffset(), (1, 4, 4), num_classes=3)
    labels = torch.arange(40) % 3
    images = model.network.values[labels][:, None, None, None].expand(-1, 1, 4, 4)
    right = fit(model, images, labels=labels, images=20, held_out=20)
    wrong = fit(model, images, labels=torch.zeros(40, dtype=torch.long), images=20, held_out=20)
    assert right.held_out.residual_variance < 1e-6 < 0.1 < wrong.held_out.residual_variance


def test_a_tensor_without_labels_is_refused_for_a_model_that_knows_classes():
    model = GenerativeModel(ClassOffset(), (1, 4, 4), num_classes=3)
    with pytest.raises(DataError, match="knows 3 classes, and a tensor says nothing of them: give labels"):
        fit(model, torch.zeros(40, 1, 4, 4), images=20, held_out=20)
    with pytest.raises(DataError, match=r"outside 0\.\.2"):
        fit(model, torch.zeros(40, 1, 4, 4), labels=[-1] * 40, images=20, held_out=20)
    with pytest.raises(DataError, match="labels hold the class 5, but the model knows 3: 0 to 2"):
        fit(model, torch.zeros(40, 1, 4, 4), labels=[5] * 40, images=20, held_out=20)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 6), (1, 16, 16)])
def test_images_of_another_shape_than_the_models_are_refused(shape):
    with pytest.raises(ConfigurationError, match=r"makes samples of shape \(1, 8, 8\), but noise has"):
        fit(tiny_model(), image_data(shape=shape), images=4, held_out=2)


def test_predictions_of_more_channels_than_the_data_are_refused():
    """Broadcasting would compare each of them with the one channel that there is."""
    with pytest.raises(ConfigurationError, match=r"predicts \(2, 3, 8, 8\) for states of \(2, 1, 8, 8\)"):
        fit(tiny_model(head=nn.Conv2d(4, 3, 1)), image_data(), images=4, held_out=2)
