"""Reading a folder: what is no pipeline, or names code that nobody asked for, is refused before weights are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import genuq
from genuq.errors import ConfigurationError
from genuq.pretrained.loading import pipeline_class
from support.small_pipelines import saved


def index(folder: Path, text: str) -> Path:
    (folder / "model_index.json").write_text(text)
    return folder


@pytest.mark.parametrize(
    "text,said", [("{", "not JSON"), ("[]", "names no pipeline"), ('{"_class_name": ["a", "b"]}', "names no")]
)
def test_a_broken_index(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        pipeline_class(index(tmp_path, text))


def test_no_pipeline(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"holds no model_index\.json"):
        genuq.from_pretrained(tmp_path)


def test_an_unknown_pipeline_has_the_nearest_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'StableDiffusionPipeline'"):
        genuq.from_pretrained(index(tmp_path, json.dumps({"_class_name": "StableDiffusionPipelin"})))


def test_weights_that_are_no_safetensors_are_refused(tmp_path: Path) -> None:
    folder = saved("unet2d", tmp_path)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, folder / "unet" / "diffusion_pytorch_model.bin")
    weights.unlink()
    with pytest.raises(ConfigurationError, match="could not be loaded"):
        genuq.from_pretrained(folder)


def test_the_precision_asked_for_is_that_of_the_parameters(tmp_path: Path) -> None:
    model = genuq.from_pretrained(saved("unet2d", tmp_path), dtype=torch.float64)
    assert {value.dtype for value in model.network.parameters()} == {torch.float64}
