"""Autoencoders around a process: ours, and diffusers' from a folder, against direct calls of the same module."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderDC, AutoencoderKL, AutoencoderKLQwenImage, AutoencoderTiny, ConsistencyDecoderVAE
from torch import nn

from genuq.errors import ConfigurationError
from genuq.models import Autoencoder, DiffusersAutoencoder, GenerativeModel, Sampler, VAEAutoencoder, build, sample
from genuq.networks import VAE, UNet
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


MEAN, DEVIATION = [0.5, -1.0, 2.0, 0.1], [2.0, 0.5, 3.0, 1.5]


@torch.no_grad()
def test_means_and_deviations_of_the_channels_normalise_the_latents():
    """diffusers' StableDiffusionXLPipeline: raw = latents * latents_std / scaling_factor + latents_mean."""
    original = AutoencoderKL(
        block_out_channels=(8,), norm_num_groups=4, scaling_factor=0.5, latents_mean=MEAN, latents_std=DEVIATION
    ).eval()
    found = DiffusersAutoencoder(original)
    mean, deviation = (torch.tensor(numbers).view(1, 4, 1, 1) for numbers in (MEAN, DEVIATION))
    raw = original.encode(IMAGES).latent_dist.mode()
    torch.testing.assert_close(found.encode(IMAGES), (raw - mean) / deviation * 0.5)
    latents = torch.randn(2, 4, 16, 16)
    expected = original.decode(latents * deviation / 0.5 + mean).sample
    torch.testing.assert_close(found.decode(latents), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_an_autoencoder_of_video_gets_one_frame():
    """diffusers' QwenImagePipeline: raw = latents * latents_std + latents_mean, decoded, of which the first frame."""
    torch.manual_seed(0)
    original = AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2],
        num_res_blocks=1,
        temperal_downsample=[False],
        latents_mean=MEAN,
        latents_std=DEVIATION,
    ).eval()
    found = DiffusersAutoencoder(original)
    mean, deviation = (torch.tensor(numbers).view(1, 4, 1, 1, 1) for numbers in (MEAN, DEVIATION))
    raw = original.encode(IMAGES[:, :, None]).latent_dist.mode()
    torch.testing.assert_close(found.encode(IMAGES)[:, :, None], (raw - mean) / deviation)
    assert found.latent_shape((3, 16, 16)) == (4, 8, 8)
    latents = torch.randn(2, 4, 8, 8)
    expected = original.decode(latents[:, :, None] * deviation + mean).sample[:, :, 0]
    torch.testing.assert_close(found.decode(latents), expected, rtol=1e-4, atol=1e-5)
    assert GenerativeModel(UNet((4, 8, 8), channels=(8,)), (3, 16, 16), autoencoder=found).latent_shape == (4, 8, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scaling_factor": None, "shift_factor": None}, "neither scaling_factor nor latents_mean"),
        ({"latents_mean": MEAN}, "latents_mean and latents_std together, or shift_factor"),
        ({"latents_mean": MEAN, "latents_std": DEVIATION}, "latents_mean and latents_std together, or shift_factor"),
    ],
)
def test_latents_whose_normalisation_is_unknown_are_refused(changes, message):
    original = small_kl()
    original.register_to_config(**changes)
    with pytest.raises(ConfigurationError, match=f"the configuration of AutoencoderKL .*{message}"):
        DiffusersAutoencoder(original)


def consistency_decoder() -> ConsistencyDecoderVAE:
    """A small one; its decoder is a diffusion model, which starts from noise of its own."""
    torch.manual_seed(0)
    return ConsistencyDecoderVAE(
        encoder_block_out_channels=(8, 8, 8, 8),
        encoder_norm_num_groups=4,
        encoder_down_block_types=("DownEncoderBlock2D",) * 4,
        decoder_block_out_channels=(8, 8, 8, 8),
        decoder_norm_num_groups=4,
        decoder_down_block_types=("ResnetDownsampleBlock2D",) * 4,
        decoder_up_block_types=("ResnetUpsampleBlock2D",) * 4,
        decoder_layers_per_block=1,
    ).eval()


def test_a_decoder_that_draws_noise_is_refused():
    """The same sample would not be the same twice."""
    found = DiffusersAutoencoder(consistency_decoder())
    with pytest.raises(ConfigurationError, match=r"ConsistencyDecoderVAE draws noise as it decodes.*deterministic"):
        GenerativeModel(UNet((4, 4, 4), channels=(8,)), (3, 32, 32), autoencoder=found)


class Halving(Autoencoder):
    """Somebody's own: every second pixel, and back, with noise or dropout if a test wants it."""

    def __init__(self, noise: float = 0.0, dropout: float = 0.0) -> None:
        super().__init__()
        self.noise, self.dropout = noise, nn.Dropout(dropout)

    def latent_shape(self, image_shape):
        return (image_shape[0], image_shape[1] // 2, image_shape[2] // 2)

    def encode(self, images):
        return images[..., ::2, ::2]

    def decode(self, latents):
        images = self.dropout(latents).repeat_interleave(2, -1).repeat_interleave(2, -2)
        return images + self.noise * torch.randn_like(images)


def halved(autoencoder: Autoencoder, side: int = 16) -> GenerativeModel:
    return GenerativeModel(UNet((1, 8, 8), channels=(8,)), (1, side, side), autoencoder=autoencoder)


def test_an_autoencoder_of_ones_own_is_asked_the_same():
    with pytest.raises(ConfigurationError, match="Halving draws noise"):
        halved(Halving(noise=0.1))
    with pytest.raises(ConfigurationError, match=r"latents of \(1, 8, 8\) of images of \(1, 17, 17\), and images of"):
        halved(Halving(), side=17)
    model = halved(Halving(dropout=0.5).train())
    assert model.autoencoder.dropout.training, "looked at in evaluation mode, and left as it was"
    sampler = Sampler(steps=1)
    assert torch.equal(sample(model, sampler, [0]), sample(model, sampler, [0]))


@pytest.mark.parametrize("side", [18, 21, 24])
def test_sizes_that_the_reduction_divides_are_taken_and_no_others(side):
    """Of a factor of four; 21 pixels once were compared with 20, those of 18 with 16."""
    torch.manual_seed(0)
    original = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8),
        norm_num_groups=4,
    ).eval()
    found = DiffusersAutoencoder(original)
    shape = (3, side, side)
    if side % 4 == 0:
        assert around(found, shape).latent_shape == (4, side // 4, side // 4)
        return
    decoded = tuple(found.decode(found.encode(torch.zeros(1, *shape))).shape[1:])
    assert decoded != shape
    message = (
        rf"AutoencoderKL makes latents of .* images of \(3, {decoded[1]}, {decoded[1]}\) of these.*data.image_size"
    )
    with pytest.raises(ConfigurationError, match=message):
        around(found, shape)


def around(autoencoder: Autoencoder, shape) -> GenerativeModel:
    return GenerativeModel(nn.Conv2d(4, 4, 1), shape, autoencoder=autoencoder, call=lambda network, x, t, y: network(x))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latents_std": [*DEVIATION[:-1], 0.0]}, "latents_std of AutoencoderKL is .* finite and above 0"),
        ({"latents_std": [*DEVIATION[:-1], float("nan")]}, "latents_std of AutoencoderKL is .* finite and above 0"),
        ({"latents_mean": [*MEAN[:-1], float("inf")]}, "latents_mean of AutoencoderKL is .* finite"),
        ({"latents_mean": MEAN[:-1]}, "3 latents_mean, but 4 latents_std"),
        ({"latents_mean": MEAN[:-1], "latents_std": DEVIATION[:-1]}, "latents of 4 channels, but has 3 latents_mean"),
    ],
)
def test_numbers_of_the_channels_that_cannot_normalise_are_refused(changes, message):
    original = small_kl()
    original.register_to_config(shift_factor=None, **{"latents_mean": MEAN, "latents_std": DEVIATION, **changes})
    with pytest.raises(ConfigurationError, match=message):
        DiffusersAutoencoder(original).latent_shape((3, 16, 16))


def test_weights_of_another_class_are_refused(tmp_path):
    """diffusers draws at random what a file lacks, with a warning: the images would be noise."""
    small_kl().save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError, match=r"class_name = 'AutoencoderTiny'.* of another class: .*_class_name"):
        DiffusersAutoencoder.from_pretrained(str(tmp_path), class_name="AutoencoderTiny")
