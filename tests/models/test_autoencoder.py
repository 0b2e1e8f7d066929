"""Autoencoders around a process: ours, and diffusers' from a folder, against direct calls of the same module."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderDC, AutoencoderKL, AutoencoderTiny
from torch import nn

from genuq.errors import ConfigurationError
from genuq.models import Autoencoder, DiffusersAutoencoder, VAEAutoencoder, build
from genuq.networks import VAE
from support.asking import RAN, Asking

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def small_kl(**options) -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        block_out_channels=(8, 8),
        norm_num_groups=4,
        sample_size=16,
        scaling_factor=0.3,
        shift_factor=0.1,
        **options,
    ).eval()


def small_tiny() -> AutoencoderTiny:
    torch.manual_seed(0)
    return AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
        latent_channels=2,
    ).eval()


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_identity_for_pixel_models():
    identity = Autoencoder()
    assert identity.latent_shape([1, 28, 28]) == (1, 28, 28)
    assert identity.encode(IMAGES) is IMAGES
    assert identity.decode(IMAGES) is IMAGES


def test_our_vaes_latents_are_scaled_means():
    vae = VAE((3, 16, 16), latent_channels=2, channels=(8, 8)).eval()
    wrapped = VAEAutoencoder(vae)
    wrapped.scale.fill_(2.5)
    torch.testing.assert_close(wrapped.encode(IMAGES) * 2.5, vae.encode(IMAGES)[0])
    torch.testing.assert_close(wrapped.decode(wrapped.encode(IMAGES)), vae.decode(vae.encode(IMAGES)[0]))
    assert wrapped.latent_shape((3, 16, 16)) == wrapped.encode(IMAGES).shape[1:]
    assert "scale" in wrapped.state_dict(), "the scale travels with the weights"


@torch.no_grad()
def test_autoencoder_kl_from_a_folder(tmp_path):
    original = small_kl()
    original.save_pretrained(tmp_path)
    found = DiffusersAutoencoder.from_pretrained(str(tmp_path))
    mode = original.encode(IMAGES).latent_dist.mean
    torch.testing.assert_close(found.encode(IMAGES), (mode - 0.1) * 0.3)
    torch.testing.assert_close(found.decode(found.encode(IMAGES)), original.decode(mode).sample, rtol=1e-4, atol=1e-5)
    assert found.latent_shape((3, 16, 16)) == (4, 8, 8)


@torch.no_grad()
def test_autoencoder_tiny_from_a_folder(tmp_path):
    original = small_tiny()
    original.save_pretrained(tmp_path)
    found = DiffusersAutoencoder.from_pretrained(str(tmp_path), class_name="AutoencoderTiny")
    latents = original.encode(IMAGES).latents
    torch.testing.assert_close(found.encode(IMAGES), latents)
    torch.testing.assert_close(found.decode(latents), original.decode(latents).sample)
    assert found.latent_shape((3, 16, 16)) == (2, 8, 8)


@torch.no_grad()
def test_autoencoder_dc_has_a_latent_of_another_name():
    torch.manual_seed(0)
    layers = {"block_types": "ResBlock", "block_out_channels": (8, 8), "layers_per_block": (1, 1)}
    original = AutoencoderDC(
        latent_channels=4,
        attention_head_dim=4,
        scaling_factor=0.5,
        **{f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in layers.items()},
        encoder_qkv_multiscales=((), ()),
        decoder_qkv_multiscales=((), ()),
    ).eval()
    found = DiffusersAutoencoder(original)
    torch.testing.assert_close(found.encode(IMAGES), 0.5 * original.encode(IMAGES).latent)
    assert found.decode(found.encode(IMAGES)).shape == IMAGES.shape


@torch.no_grad()
def test_grey_images_through_a_colour_autoencoder():
    original, grey = small_kl(), IMAGES[:, :1]
    found = DiffusersAutoencoder(original, channels=1)
    mode = original.encode(torch.cat([grey, grey, grey], 1)).latent_dist.mean
    torch.testing.assert_close(found.encode(grey), (mode - 0.1) * 0.3)
    decoded = found.decode(found.encode(grey))
    torch.testing.assert_close(decoded, original.decode(mode).sample.mean(1, keepdim=True), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_grey_images_through_a_grey_autoencoder():
    original, grey = small_kl(in_channels=1, out_channels=1), IMAGES[:, :1]
    found = DiffusersAutoencoder(original, channels=1)
    torch.testing.assert_close(found.encode(grey), (original.encode(grey).latent_dist.mean - 0.1) * 0.3)
    assert found.decode(found.encode(grey)).shape == grey.shape


def test_latent_shape_of_a_half_precision_autoencoder():
    assert DiffusersAutoencoder(small_tiny().to(torch.bfloat16)).latent_shape((3, 16, 16)) == (2, 8, 8)


def test_a_description_loads_it_by_path(tmp_path):
    small_kl().save_pretrained(tmp_path)
    model = build(
        {
            "shape": [3, 16, 16],
            "num_classes": 0,
            "prediction": "flow",
            "process": {"name": "flow_matching"},
            "network": {"name": "unet", "channels": [8]},
            "autoencoder": {"name": "diffusers", "path": str(tmp_path)},
        }
    )
    assert model.latent_shape == (4, 8, 8)
    assert model(torch.randn(2, 4, 8, 8), torch.rand(2)).shape == (2, 4, 8, 8)


def test_what_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"autoencoder.path = '.*nothing' could not be loaded"):
        DiffusersAutoencoder.from_pretrained(str(tmp_path / "nothing"))
    small_tiny().save_pretrained(tmp_path)
    weights = tmp_path / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ConfigurationError, match="could not be loaded"):
        DiffusersAutoencoder.from_pretrained(str(tmp_path), class_name="AutoencoderTiny")


def test_pickled_weights_of_an_autoencoder_are_not_opened(tmp_path):
    small_tiny().save_pretrained(tmp_path)
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({"weight": Asking()}, tmp_path / "diffusion_pytorch_model.bin")
    with pytest.raises(ConfigurationError, match="could not be loaded"):
        DiffusersAutoencoder.from_pretrained(str(tmp_path), class_name="AutoencoderTiny")
    assert not RAN


def test_what_is_no_autoencoder_is_refused():
    with pytest.raises(ConfigurationError, match="'UNet2DModel' is not a diffusers autoencoder"):
        DiffusersAutoencoder.from_pretrained("anywhere", class_name="UNet2DModel")
    with pytest.raises(ConfigurationError, match=r"Linear has no \.config"):
        DiffusersAutoencoder(nn.Linear(2, 2))
