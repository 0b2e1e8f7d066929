"""`model=edm2`: weights as they are used beside the network that makes them anew, its path, and its latents."""

from __future__ import annotations

import copy
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors.torch import save_file

from genuq.models import GenerativeModel, is_plain, with_plain_layers
from genuq.networks.edm2 import EDM2, EDM2Settings
from genuq.pretrained import from_network
from genuq.pretrained.edm2 import EDM2Autoencoder, edm2, with_gains_of_one, with_used_weights
from support import released
from support.released import images, small
from support.small_pipelines import kl, seeded


@seeded
def theirs() -> EDM2:
    return with_gains_of_one(EDM2(EDM2Settings(**released.EDM2))).eval()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> GenerativeModel:
    path = tmp_path_factory.mktemp("weights") / "edm2.safetensors"
    save_file({key: value.clone() for key, value in theirs().state_dict().items()}, path)
    return small("edm2", checkpoint=str(path))


def test_it_is_the_model_that_their_denoiser_is(ours: GenerativeModel) -> None:
    """D(x, sigma) with the scheduler of EDM is read otherwise: divided out of what it answers."""
    other = from_network(theirs(), diffusers.EDMEulerScheduler(), (3, 8, 8), num_classes=3, denoises=True)
    (x, y), t_B = images(4), torch.tensor([0.05, 0.3, 0.6, 0.95])
    noised = ours.process.interpolate(x, torch.randn(x.shape, generator=torch.Generator().manual_seed(0)), t_B)
    with torch.no_grad():
        torch.testing.assert_close(ours(noised, t_B, y), other(noised, t_B, y).float(), rtol=1e-3, atol=1e-4)
    assert ours.head_name == other.head_name == "unet.out_conv"
    torch.testing.assert_close(ours.head.weight, other.head.weight)


def test_every_layer_stores_the_weight_that_it_uses() -> None:
    network, made = theirs(), with_used_weights(copy.deepcopy(theirs()))
    x, told, labels = torch.randn(2, 3, 8, 8), torch.tensor([-0.5, 0.4]), torch.eye(3)[[0, 2]]
    with torch.no_grad():
        torch.testing.assert_close(made.unet(x, told, labels), network.unet(x, told, labels))
    watched = with_plain_layers(network.unet, [lambda net: net(x, told, labels), lambda net: net(x, -told, labels)])
    assert is_plain(made.unet.out_conv)
    stored = {name: layer.weight for name, layer in made.unet.named_modules() if is_plain(layer)}
    assert len(stored) == sum("weight" in name for name, _ in network.unet.named_parameters())
    for name, weight in stored.items():
        torch.testing.assert_close(weight, watched.get_submodule(name).weight)


def test_classes_are_one_hot_and_none_is_no_row(ours: GenerativeModel) -> None:
    (x, _), t_B = images(2), torch.tensor([0.3, 0.6])
    with torch.no_grad():
        assert not torch.allclose(ours(x, t_B, torch.tensor([0, 1])), ours(x, t_B, torch.tensor([2, 1])))
    model = small("edm2", changed=released.EDM2 | {"label_dim": 0})
    assert model.num_classes == 0 and model(x, t_B).shape == x.shape


def test_latents_are_normalised_as_theirs(tmp_path: Path) -> None:
    """Images in [0, 1] and, by channel, mean 0 and deviation 0.5; the encoder's own scaling is not used."""
    torch.manual_seed(0)
    raw = kl(reductions=1, scaling_factor=0.18215)
    around, image = EDM2Autoencoder(raw), torch.rand(2, 3, 8, 8) * 2 - 1
    with torch.no_grad():
        latent = raw.encode((image + 1) / 2).latent_dist.mode()
        mean, deviation = torch.tensor([5.81, 3.25, 0.12, -2.15]), torch.tensor([4.17, 4.62, 3.71, 3.28])
        expected = (latent - mean[:, None, None]) / deviation[:, None, None] / 2
        torch.testing.assert_close(around.encode(image), expected)
        torch.testing.assert_close(around.decode(expected), raw.decode(latent).sample * 2 - 1, rtol=1e-4, atol=1e-5)
    raw.save_pretrained(tmp_path)
    model = edm2("imagenet_512_xs", autoencoder=tmp_path, outline=True)
    assert model.latent_shape == (4, 64, 64) and isinstance(model.autoencoder, EDM2Autoencoder)
