"""A folder's configurations alone: the same network, head, latents and rows as with weights, which nothing reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.models import Conditions
from genuq.pretrained import PretrainedModel
from genuq.pretrained.outline import from_configuration
from support.full_size import WEIGHTS, configured
from support.pretrained_cases import opened
from support.small_pipelines import PIPELINES, options_of, saved

RAGGED = (
    "z_image",
    "qwen_image",
    "cogview4",
    "hunyuan_image",
)  # whose rows are as long as their texts, of which no configuration tells


def without_weights(family: str, folder: Path) -> Path:
    """A saved pipeline whose weights cannot be read."""
    saved(family, folder)
    for path in folder.rglob("*.safetensors"):
        path.write_bytes(b"no weights")
    return folder


@pytest.fixture(scope="module", params=PIPELINES)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, PretrainedModel, PretrainedModel]:
    """(family, without weights, with weights)."""
    family = str(request.param)
    folder = without_weights(family, tmp_path_factory.mktemp("outlined"))
    return family, from_configuration(folder, **options_of(family)), opened(family)[0]


def sizes_of(conditions: Conditions | None) -> list[object]:
    if conditions is None:
        return []
    numbers = range(len(conditions) + conditions.nulls)
    table = {name: [tuple(row.shape) for row in value] for name, value in conditions.source.at(numbers).items()}
    return [len(conditions), conditions.nulls, table]


def test_it_is_the_model_without_numbers(both: tuple[str, PretrainedModel, PretrainedModel]) -> None:
    family, outlined, real = both
    assert outlined.head_name == real.head_name
    assert (outlined.shape, outlined.latent_shape) == (real.shape, real.latent_shape)
    assert (outlined.steps, outlined.scale, outlined.num_classes) == (real.steps, real.scale, real.num_classes)
    assert outlined.prediction == real.prediction and outlined.sampler(3).steps == 3
    pairs = zip(outlined.state_dict().items(), real.state_dict().items(), strict=True)
    assert all(name == other and a.shape == b.shape and a.is_meta for (name, a), (other, b) in pairs)
    if family not in RAGGED:
        assert sizes_of(outlined.conditions) == sizes_of(real.conditions)


def test_precision_and_scheduler_are_those_asked_for(tmp_path: Path) -> None:
    folder = without_weights("stable_diffusion", tmp_path)
    asked = {"name": "DDIMScheduler", "timestep_spacing": "trailing", "clip_sample": False}
    model = from_configuration(folder, torch.bfloat16, scheduler=asked, prompts=["a cat"] * 1000)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert type(model.scheduler).__name__ == "DDIMScheduler" and model.num_classes == 1000


@pytest.mark.parametrize(
    ("part", "settings", "said"),
    [
        ("unet/config.json", None, r"unet/config\.json cannot be read"),
        ("vae/config.json", [], "must hold names with values"),
        ("unet/config.json", {"block_out_channels": "wide"}, "does not describe a UNet2DConditionModel"),
        ("model_index.json", {"unet": ["diffusers", "DDIMScheduler"]}, "'DDIMScheduler' of unet is no ModelMixin"),
    ],
)
def test_what_is_missing_or_broken_is_named(tmp_path: Path, part: str, settings: object, said: str) -> None:
    path = without_weights("stable_diffusion", tmp_path) / part
    if settings is None:
        path.unlink()
    else:
        whole = json.loads(path.read_text()) | settings if isinstance(settings, dict) else settings
        path.write_text(json.dumps(whole))
    with pytest.raises(ConfigurationError, match=said):
        from_configuration(tmp_path, prompts="a cat")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if "large" in name else []) for name in WEIGHTS]
)
def test_published_pipelines_have_their_published_size(name: str, tmp_path: Path) -> None:
    model = from_configuration(configured(name, tmp_path), torch.bfloat16, prompts=["a cat"] * 1000)
    counted = sum(weight.numel() for weight in model.network.parameters())
    assert counted / 1e9 == pytest.approx(WEIGHTS[name], abs=0.005)
    assert model.shape == (3, 1024, 1024) and model.latent_shape[1:] == (128, 128)
    assert model.head_name == ("conv_out" if name == "stable_diffusion_xl" else "proj_out")


def test_a_folder_of_configurations_is_enough(tmp_path: Path) -> None:
    folder = saved("stable_diffusion_xl", tmp_path / "whole")
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix == ".json" and "token" not in path.name:
            (tmp_path / "few" / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / "few" / path.relative_to(folder))
    model = from_configuration(tmp_path / "few", **options_of("stable_diffusion_xl"))
    assert model.head_name == "conv_out" and sizes_of(model.conditions) == sizes_of(
        opened("stable_diffusion_xl")[0].conditions
    )
