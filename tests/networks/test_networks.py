"""The networks: shapes, gradients, conditioning, the head behind which nothing is weighted, early errors."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from genuq import networks
from genuq.errors import ConfigurationError
from genuq.models import head_candidates
from genuq.networks import MLP, VAE, DiT, UNet
from support.stirred import stirred

CLASSES = 3
BUILDERS = {
    "unet": lambda classes=CLASSES: UNet((1, 8, 8), channels=(8, 16), num_classes=classes),
    "dit": lambda classes=CLASSES: DiT((1, 8, 8), width=16, depth=2, heads=2, num_classes=classes),
    "mlp": lambda classes=CLASSES: MLP((2,), width=16, depth=2, num_classes=classes),
}
SHAPES = {"unet": (1, 8, 8), "dit": (1, 8, 8), "mlp": (2,)}
every_network = pytest.mark.parametrize("name", BUILDERS)


def inputs(name: str, count: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    x = torch.randn(count, *SHAPES[name], generator=source)
    return x, torch.rand(count, generator=source), torch.arange(count) % CLASSES


@every_network
def test_prediction_has_the_shape_of_the_state(name):
    x, t, y = inputs(name)
    for classes, labels in ((CLASSES, y), (0, None)):
        assert stirred(BUILDERS[name](classes))(x, t, labels).shape == x.shape


@pytest.mark.parametrize("shape", [(3, 12, 8), (4, 8, 16)])
def test_images_need_not_be_square(shape):
    x, t = torch.randn(2, *shape), torch.rand(2)
    assert UNet(shape, channels=(8, 8))(x, t).shape == x.shape
    assert DiT(shape, width=8, depth=1, heads=2)(x, t).shape == x.shape


@every_network
def test_gradient_reaches_every_parameter_once_training_has_begun(name):
    """Heads and gates start at zero, so that the gradient opens up within a few steps."""
    torch.manual_seed(0)
    network = BUILDERS[name]()
    x, t, y = inputs(name, count=8)
    y[0] = CLASSES  # the null class is trained as well
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(4):
        optimiser.zero_grad()
        F.mse_loss(network(x, t, y), torch.randn_like(x)).backward()
        optimiser.step()
    dead = [key for key, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert dead == []


@every_network
def test_no_class_is_the_null_class(name):
    network = stirred(BUILDERS[name]())
    x, t, y = inputs(name)
    null = torch.full_like(y, CLASSES)
    assert torch.equal(network(x, t, None), network(x, t, null))
    assert (network(x, t, y) - network(x, t, null)).abs().amax() > 1e-3


@every_network
def test_every_sample_has_its_own_time_and_class(name):
    network = stirred(BUILDERS[name]())
    x, t, y = inputs(name)
    alone = torch.cat([network(x[n : n + 1], t[n : n + 1], y[n : n + 1]) for n in range(len(x))])
    torch.testing.assert_close(network(x, t, y), alone, rtol=1e-5, atol=1e-5)
    assert (network(x, t.flip(0), y) - alone).abs().amax() > 1e-3


@every_network
def test_the_head_is_the_last_weighted_layer_and_the_output_is_linear_in_it(name):
    network = stirred(BUILDERS[name]())
    assert head_candidates(network)[-1] == "head"
    x, t, y = inputs(name)
    before = network(x, t, y)
    with torch.no_grad():
        network.head.weight.mul_(3)
        network.head.bias.mul_(3)
    torch.testing.assert_close(network(x, t, y), 3 * before, rtol=1e-4, atol=1e-4)


def test_unet_and_dit_start_by_predicting_zero():
    for name in ("unet", "dit"):
        x, t, y = inputs(name)
        prediction = BUILDERS[name]()(x, t, y)
        assert prediction.std() < 0.2  # no more than the head's bias


@pytest.mark.parametrize("side", [10, 30])
def test_sizes_that_do_not_divide_are_refused(side):
    for build in (lambda: UNet((1, side, 28), channels=(8, 16)), lambda: VAE((1, side, 28))):
        with pytest.raises(ConfigurationError, match=f"image height = {side} is not divisible by 4"):
            build()
    with pytest.raises(ConfigurationError, match="image width = 9 is not divisible by 2"):
        DiT((1, 8, 9))


def test_widths_that_do_not_divide_are_refused():
    with pytest.raises(ConfigurationError, match="width = 30 is not divisible by 4"):
        DiT((1, 8, 8), width=30, heads=4)
    for build in (lambda: MLP((2,), width=33), lambda: DiT((1, 8, 8), width=33, heads=3)):
        with pytest.raises(ConfigurationError, match="width = 33 is not divisible by 2"):
            build()


@pytest.mark.parametrize("name", ["unet", "dit"])
def test_points_into_an_image_network_are_refused(name):
    with pytest.raises(ConfigurationError, match=r"takes images .* choose network=mlp"):
        networks.build(name, shape=(2,), num_classes=0)


def test_build_by_name():
    assert isinstance(networks.build("mlp", shape=(2,), num_classes=0, width=8), MLP)
    with pytest.raises(ConfigurationError, match="Did you mean 'unet'"):
        networks.build("u-net", shape=(1, 8, 8), num_classes=0)
    with pytest.raises(ConfigurationError, match=r"'mlp' has no option 'widht'\. Did you mean 'width'"):
        networks.build("mlp", shape=(2,), num_classes=0, widht=8)
