"""Several layers watched in one forward pass: against autograd on the network itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel
from genuq.posteriors.curvature.capture import (
    active_outputs,
    check_layers,
    fisher_gradients,
    head_features,
    layer_features,
    residual_gradients,
    residuals_at_head,
    unsuitable_layers,
)
from genuq.posteriors.curvature.layer_choice import choose_layers
from genuq.posteriors.curvature.layer_geometry import geometry_of
from genuq.posteriors.kfac import KFACLaplace
from support.layer_oracles import case, plain_batch, plain_model
from support.posterior_oracles import (
    NETWORKS,
    image_data,
    relative_error,
    tiny_model,
)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_weight_gradients_of_all_layers_are_autograds(name, frozen):
    model, batch = case(name)
    names, _ = choose_layers(model.network, "all")
    target = torch.randn_like(batch[0])
    loss = 0.5 * (model(*batch) - target).square().sum()
    wanted = torch.autograd.grad(loss, [model.network.get_submodule(layer).weight for layer in names])
    model.network.requires_grad_(not frozen)
    prediction, inputs, outputs = layer_features(model, names, *batch)
    residual, gradients = residual_gradients(prediction, target, outputs)
    assert torch.equal(residual, model(*batch).detach() - target)
    for layer, weight in zip(names, wanted):
        head = geometry_of(model.network.get_submodule(layer))
        found = head.gradients(inputs[layer].double(), gradients[layer].double()).sum(0)
        assert relative_error(head.parameters(found)["weight"].detach(), weight) < 1e-9, layer
    assert all(value.grad is None for value in model.parameters()) and torch.is_grad_enabled()


def test_several_draws_are_stacked():
    model, batch = case("unet")
    numbers = torch.randn(3, *batch[0].shape, dtype=torch.float64)
    prediction, _, outputs = layer_features(model, ["entry", "head"], *batch)
    stacked = fisher_gradients(prediction, outputs, numbers)
    for draw in range(3):
        single = fisher_gradients(prediction, outputs, numbers[draw])
        assert all(torch.equal(stacked[name][draw], single[name]) for name in ("entry", "head"))


class InPlace(nn.Module):
    """Changes each layer's output in place."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(1, 1, 3, padding=1) for _ in range(3))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        h = self.relu(self.first(x))
        h = self.second(h)
        h += x
        return self.third(self.relu(h)).mul_(2)


def test_what_follows_may_change_an_output_in_place():
    torch.manual_seed(0)
    model, batch = plain_model(InPlace().double(), (1, 5, 5)), plain_batch((1, 5, 5))
    numbers = torch.randn_like(batch[0])
    network = model.network
    wanted = torch.autograd.grad(model(*batch), [network.first.bias, network.second.bias, network.third.bias], numbers)
    prediction, _, outputs = layer_features(model, ["first", "second", "third"], *batch)
    gradients = fisher_gradients(prediction, outputs, numbers)
    for name, bias in zip(("first", "second", "third"), wanted):
        assert relative_error(gradients[name].sum((0, 2, 3)), bias) < 1e-12


class AddingInPlace(nn.Module):
    """Residual blocks that write into what they gave to their layer."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = (nn.Conv2d(1, 1, 3, padding=1) for _ in range(3))

    def forward(self, x):
        h = x.clone()
        h += self.first(h)
        h += self.second(h)
        return self.head(torch.tanh(h))


@pytest.mark.parametrize("frozen", [False, True])
def test_an_input_may_be_changed_in_place_after_its_layer_ran(frozen):
    """Oracle: the same network out of place, by autograd."""
    torch.manual_seed(0)
    network = AddingInPlace().double()
    names = ["first", "second", "head"]
    model, batch = plain_model(network, (1, 5, 5)), plain_batch((1, 5, 5))
    numbers = torch.randn_like(batch[0])
    first = batch[0] + network.first(batch[0])
    second = first + network.second(first)
    wanted = torch.autograd.grad(
        network.head(torch.tanh(second)), [getattr(network, name).bias for name in names], numbers
    )
    network.requires_grad_(not frozen)
    check_layers(model, names, *batch)
    prediction, features, outputs = layer_features(model, names, *batch)
    gradients = fisher_gradients(prediction, outputs, numbers)
    for name, bias, given in zip(names, wanted, (batch[0], first, torch.tanh(second))):
        assert relative_error(gradients[name].sum((0, 2, 3)), bias) < 1e-12
        assert relative_error(features[name], given.detach()) < 1e-12


def test_nothing_before_the_first_layer_builds_a_graph_and_hooks_go():
    model, batch = case("unet")
    seen = []
    model.network.entry.register_forward_hook(lambda module, inputs, output: seen.append(output.requires_grad))
    hooks = len(model.network.head._forward_hooks)
    with torch.no_grad():
        layer_features(model, ["middle.0.conv_out", "head"], *batch)
        assert not torch.is_grad_enabled()
    assert seen == [False] and len(model.network.head._forward_hooks) == hooks


class Odd(nn.Module):
    """Layers that cannot be counted by image."""

    def __init__(self):
        super().__init__()
        self.twice, self.never, self.time = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.rows, self.good, self.gained = nn.Linear(2, 2), nn.Linear(4, 4), Gained(4, 4)

    def forward(self, x):
        h = self.twice(self.twice(x)) + self.time(torch.ones(1, 4, dtype=x.dtype))
        h = F.linear(h, self.never.weight) + self.rows(h.reshape(-1, 2)).reshape(x.shape)
        return self.gained(self.good(h))


class Gained(nn.Linear):
    """A Linear in name, whose output is scaled."""

    def forward(self, x):
        return 0.5 * super().forward(x)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("twice", r"posterior\.layers = 'twice' runs more than once"),
        ("never", r"never reached posterior\.layers = 'never'"),
        ("time", r"posterior\.layers = 'time' sees 1 rows for 3 images"),
        ("rows", r"posterior\.layers = 'rows' sees 6 rows for 3 images"),
        ("gained", r"posterior\.layers = 'gained', a Gained, does not compute"),
    ],
)
def test_layers_that_cannot_be_counted_are_refused_by_name(name, said):
    torch.manual_seed(0)
    model, batch = plain_model(Odd().double(), (4,)), plain_batch((4,), images=3)
    with pytest.raises(ConfigurationError, match=said):
        check_layers(model, ["good", name], *batch)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.is_grad_enabled()
    check_layers(model, ["good"], *batch)


def test_layers_that_cannot_be_counted_are_told_together():
    torch.manual_seed(0)
    model, batch = plain_model(Odd().double(), (4,)), plain_batch((4,), images=3)
    assert unsuitable_layers(model, ["twice", "never", "time", "rows", "good", "gained"], *batch) == {
        "twice": "runs more than once in a forward pass",
        "never": "is never run in a forward pass",
        "time": "sees 1 rows for 3 images",
        "rows": "sees 6 rows for 3 images",
        "gained": "does not compute W a + b from its weight and bias",
    }
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_prediction_that_depends_on_no_layer_is_refused():
    model = GenerativeModel(nn.Conv2d(1, 1, 1), (1, 8, 8), call=lambda network, x, t, y: network(x).detach())
    batch = (torch.randn(2, 1, 8, 8), torch.rand(2), None)
    with pytest.raises(ConfigurationError, match="does not depend on"):
        check_layers(model, [""], *batch)


def test_the_layers_of_one_posterior_in_any_batches_give_the_same_sums():
    model, (x, t_B, y_B) = case("dit", images=5)
    numbers = torch.randn(5, *model.shape, dtype=torch.float64)
    sums = []
    for size in (1, 2, 5):
        posterior = KFACLaplace(model.network)
        for start in range(0, 5, size):
            rows = slice(start, start + size)
            prediction, inputs, outputs = layer_features(model, posterior.layer_names, x[rows], t_B[rows], y_B[rows])
            posterior.update(inputs, fisher_gradients(prediction, outputs, numbers[rows]))
        sums.append(posterior.sums())
    for other in sums[1:]:
        assert all(relative_error(other[key], value) < 1e-9 for key, value in sums[0].items())


def test_real_images_go_through():
    """What is watched is what the layers compute: outputs from inputs by the layer itself, and the prediction alike."""
    model, _ = case("unet")
    images, classes = image_data().batch([0, 1, 2])
    names, x, t_B = choose_layers(model.network, "all")[0], images.double(), torch.rand(3)
    check_layers(model, names, x, t_B, classes)
    prediction, inputs, outputs = layer_features(model, names, x, t_B, classes)
    with torch.no_grad():
        assert torch.equal(prediction, model(x, t_B, classes))
        for name in names:
            assert relative_error(outputs[name], model.network.get_submodule(name)(inputs[name])) < 1e-12


def test_residuals_reach_the_head_through_a_rearrangement():
    model = tiny_model(head=nn.Conv2d(4, 6, 1), behind=lambda f: F.pixel_shuffle(f[:, 1:5], 2))
    x, t = torch.randn(2, 1, 8, 8), torch.rand(2)
    prediction, features, output = head_features(model, x, t, None)
    target = torch.randn_like(prediction)
    residual, at_head = residuals_at_head(prediction, target, output)
    assert torch.equal(residual, prediction.detach() - target) and not features.requires_grad
    assert torch.equal(F.pixel_shuffle(at_head[:, 1:5], 2), residual)
    assert torch.equal(at_head[:, [0, 5]], torch.zeros(2, 2, 8, 8))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_network_may_end_in_single_precision(dtype):
    """Oracle: the same network that stays in half precision."""
    for behind in (lambda f: f.float(), lambda f: F.pixel_shuffle(f[:, :4], 2).float(), lambda f: f.double()):
        model = tiny_model(head=nn.Conv2d(4, 8, 1), behind=behind)
        model.network.to(dtype)
        found = active_outputs(model, torch.randn(2, 1, 8, 8, dtype=dtype), torch.rand(2), None)
        wanted = 4 if behind(torch.zeros(1, 8, 2, 2)).shape[1] == 1 else 8
        assert found.tolist() == [True] * wanted + [False] * (8 - wanted)


def test_a_network_may_autocast_within_and_end_in_single_precision():
    def call(network, x, t, y):
        with torch.autocast("cpu", torch.bfloat16):
            return network(x, t).float()

    model = tiny_model()
    model = GenerativeModel(model.network, (1, 8, 8), head="head", call=call)
    assert active_outputs(model, torch.randn(2, 1, 8, 8), torch.rand(2), None).tolist() == [True]
    with pytest.raises(ConfigurationError, match="not a mere rearrangement"):
        scaled = GenerativeModel(model.network, (1, 8, 8), head="head", call=lambda *given: 2 * call(*given))
        active_outputs(scaled, torch.randn(2, 1, 8, 8), torch.rand(2), None)


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
