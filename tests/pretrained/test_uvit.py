"""`model=uvit`: what each preset is told of the time, its null class, and its latents."""

from __future__ import annotations

from pathlib import Path

import diffusers
import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.models import CLASSIFIER_FREE
from genuq.pretrained.uvit import process_of, uvit
from support import released
from support.released import images, small
from support.small_pipelines import kl


def test_the_largest_are_told_one_to_a_thousand_on_stable_diffusions_betas() -> None:
    scheduler = diffusers.DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    path, told = process_of("imagenet_256_huge"), torch.arange(1, 1001).double()
    t = told / 1000
    torch.testing.assert_close(path.alpha(t).square(), scheduler.alphas_cumprod.double(), rtol=1e-4, atol=1e-9)
    assert torch.equal(path.network_time(t), told.float()) and float(path.network_time(torch.tensor(0.0))) == 1.0


@pytest.mark.parametrize("preset", ["cifar10_small", "imagenet_64_large", "imagenet_512_large"])
def test_the_others_are_told_999_t_of_continuous_time(preset: str) -> None:
    path, t = process_of(preset), torch.tensor([0.0, 0.5, 1.0])
    assert path.network_time(t).tolist() == [0.0, 499.5, 999.0]
    assert float(path.alpha(1.0)) == pytest.approx(float(torch.tensor(-5.025).exp()), rel=1e-6)


def test_pixels_have_no_null_class_and_cifar_no_class() -> None:
    assert small("uvit").num_classes == 3 and small("uvit").guidance is None
    assert uvit("cifar10_small", outline=True).num_classes == 0


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("autoencoder")
    kl(reductions=1, scaling_factor=0.18215).save_pretrained(folder)
    return folder


def test_latents_have_a_null_class_which_is_their_last_row(autoencoder: Path) -> None:
    changed = released.UVIT | {"in_chans": 4}
    model = small("uvit", preset="imagenet_256_huge", changed=changed, autoencoder=str(autoencoder))
    assert (model.shape, model.latent_shape, model.num_classes) == ((3, 16, 16), (4, 8, 8), 3)
    assert model.guidance is CLASSIFIER_FREE and model.head_name == "decoder_pred"
    x, t_B, y_B = torch.randn(2, 4, 8, 8), torch.tensor([0.3, 1.0]), torch.tensor([0, 2])
    with torch.no_grad():
        null, own = (model.network(x, 1000 * t_B, y) for y in (torch.full((2,), 3), y_B))
        torch.testing.assert_close(model.guided(x, t_B, y_B, 1.4), own + 0.4 * (own - null), rtol=1e-4, atol=1e-5)


def test_full_size_latents_are_outlined_with_their_autoencoder(autoencoder: Path) -> None:
    model = uvit("imagenet_256_huge", checkpoint=Path("nowhere.pth"), autoencoder=autoencoder, outline=True)
    assert model.latent_shape == (4, 32, 32) and model.num_classes == 1000 and next(model.parameters()).is_meta


def test_latents_without_an_autoencoder_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"model\.preset = 'imagenet_256_huge' needs the autoencoder"):
        uvit("imagenet_256_huge", outline=True)


def test_epsilon_has_the_shape_of_images() -> None:
    (x, y), model = images(2), small("uvit")
    assert model(x, torch.tensor([0.1, 0.9]), y).shape == x.shape
