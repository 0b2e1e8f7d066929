"""The networks: shapes, gradients, conditioning, the head behind which nothing is weighted, early errors."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genuq import networks
from genuq.errors import ConfigurationError
from genuq.models import head_candidates
from genuq.networks import MLP, VAE, Classifier, DiT, UNet
from genuq.networks.layers import SelfAttention, SinusoidalEmbedding

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


def stirred(network: nn.Module) -> nn.Module:
    """Random weights everywhere: the zero initialisation of heads and gates would hide what is wrong."""
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=source))
    return network.eval()


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


def test_patches_return_where_they_came_from():
    """With identity blocks and a head that inverts the entry, DiT is a linear map of each patch alone."""
    network = DiT((1, 8, 8), patch=4, width=16, depth=1, heads=2)
    x, t = torch.randn(1, 1, 8, 8), torch.rand(1)
    nn.init.normal_(network.head.weight)
    moved = x.clone()
    moved[..., 4:, :4] += torch.randn(4, 4)  # the lower left patch
    change = (network(moved, t) - network(x, t)).abs()[0, 0]
    assert change[4:, :4].amax() > 1e-3
    change[4:, :4] = 0
    assert change.amax() == 0, "blocks start as the identity, so other patches must not see it"


def test_time_embedding_is_the_ddpm_one():
    frequencies = [1000 * 10_000 ** (-k / 4) for k in range(4)]
    angles = torch.tensor([[0.25 * frequency for frequency in frequencies]], dtype=torch.float64)
    expected = torch.cat([angles.cos(), angles.sin()], 1)
    found = SinusoidalEmbedding(8)(torch.tensor([0.25])).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("channels", [16, 72, 96, 100, 104])
def test_attention_equals_the_softmax_formula(channels):
    layer = stirred(SelfAttention(channels))
    assert channels % layer.heads == 0
    x = torch.randn(2, channels, 3, 3)
    qkv = layer.query_key_value(layer.norm(x)).reshape(2, 3, layer.heads, channels // layer.heads, 9)
    query, key, value = qkv.unbind(1)
    weights = torch.einsum("bhcp,bhcq->bhpq", query, key) / (channels // layer.heads) ** 0.5
    attended = torch.einsum("bhpq,bhcq->bhcp", weights.softmax(-1), value).reshape(x.shape)
    torch.testing.assert_close(layer(x), x + layer.projection(attended), rtol=1e-4, atol=1e-4)


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


class TestVAE:
    def test_shapes_of_latents_and_images(self):
        vae, x = VAE((1, 8, 12), latent_channels=3, channels=(8, 8)), torch.randn(2, 1, 8, 12)
        mean, log_variance = vae.encode(x)
        assert mean.shape == log_variance.shape == (2, *vae.latent_shape) == (2, 3, 2, 3)
        assert vae.decode(mean).shape == x.shape

    def test_loss_is_reconstruction_plus_weighted_kl(self):
        vae, x = stirred(VAE((1, 8, 8), channels=(8, 8))), torch.randn(3, 1, 8, 8)
        noise = torch.randn(3, *vae.latent_shape)
        mean, log_variance = vae.encode(x)
        posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
        kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).mean()
        reconstruction = (vae.decode(mean + posterior.scale * noise) - x).square().mean()
        torch.testing.assert_close(vae.loss(x, noise, kl_weight=0.3), reconstruction + 0.3 * kl)


class TestClassifier:
    def test_logits_are_linear_in_the_features(self):
        network, x = stirred(Classifier((1, 12, 12), 5, channels=(4, 4, 8), features=6)), torch.randn(3, 1, 12, 12)
        features = network.features(x)
        assert features.shape == (3, 6)
        torch.testing.assert_close(network(x), features @ network.logits.weight.T + network.logits.bias)

    def test_dropout_leaves_the_features_alone(self):
        network, x = Classifier((1, 8, 8), 2, channels=(4, 4, 4), dropout=0.9), torch.randn(4, 1, 8, 8)
        network.train()
        network.trunk.eval()
        assert torch.equal(network.features(x), network.features(x))
        assert not torch.equal(network(x), network(x))
