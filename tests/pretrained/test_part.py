"""`model=diffusers`: files of texts, captions of the data beside prompts, settings of the scheduler."""

from __future__ import annotations

from pathlib import Path

import diffusers
import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.models import MODELS, Engine, sample_latents
from genuq.pretrained.part import settled, texts
from support.pretrained_cases import noise_of
from support.small_pipelines import relative, saved

NAMES = ["red cat", "blue dogs"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved("stable_diffusion", tmp_path_factory.mktemp("saved"))


def made(folder: Path, **options: object):
    sides = {"height": 16, "width": 16}
    return MODELS.make("diffusers", pretrained=str(folder), **sides, **options)


def test_half_precision_of_a_pipeline_is_that_of_its_loading(folder: Path) -> None:
    model = made(folder, prompts="a cat")
    with pytest.raises(ConfigurationError, match=r"sampler\.precision = 'float16'.*Set model\.precision=float16"):
        Engine("float16").of(model)


def test_a_pipeline_is_compiled_for_samples(folder: Path) -> None:
    model = made(folder, prompts="a cat")
    compiled = Engine(compile=True).of(model)
    assert compiled._compiled.network is model.network and compiled.sampler().solver is model.sampler().solver


def test_a_pipeline_is_compiled_by_its_own_key_too(folder: Path) -> None:
    model = MODELS.make("diffusers", pretrained=folder, prompts="a cat", compile=True)
    assert model._compiled.network is model.network
    assert "compile" not in settled({"compile": False}) and settled({"compile": True})["compile"]


def test_texts_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a red cat\n\n  two dogs, on a hill \n")
    assert texts(str(file), "model.prompts") == ["a red cat", "two dogs, on a hill"]
    plain = tmp_path / "prompts"
    plain.write_text("a\nb\n")
    assert texts(str(plain), "model.prompts") == ["a", "b"] and texts("a" * 5000, "model.prompts") == "a" * 5000
    assert texts("a cat", "model.prompts") == "a cat" and texts(["a", "b"], "") == ["a", "b"]


@pytest.mark.parametrize("given", [3, [1, 2], {"a": 1}])
def test_what_is_no_text(given: object) -> None:
    with pytest.raises(ConfigurationError, match=r"model\.prompts = .* is no text"):
        texts(given, "model.prompts")


def test_a_file_without_lines(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(ConfigurationError, match="has no lines"):
        texts(str(tmp_path / "empty.txt"), "model.prompts")
    with pytest.raises(ConfigurationError, match=r"model\.negative_prompt = .*cannot be read"):
        settled({"negative_prompt": str(tmp_path / "none.txt")})
    with pytest.raises(ConfigurationError, match=r"model\.prompts = 'prompts\.md' cannot be read"):
        settled({"prompts": "prompts.md"})


def test_what_is_settled_does_not_depend_on_where_texts_stand(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "p.txt").write_text("a red cat\n")
    found = settled({"pretrained": str(folder), "prompts": str(tmp_path / "p.txt"), "download": True})
    assert found == {"pretrained": str(folder), "prompts": ["a red cat"], "download": False}


def test_without_prompts_samples_are_asked_for_with_the_captions(folder: Path) -> None:
    model = made(folder, class_names=NAMES, captions="a {}")
    assert model.conditions.prompts == ["a red cat", "a blue dogs"]
    assert list(model.asked) == [0, 1] and model.data_classes == 2


def test_prompts_come_behind_the_captions(folder: Path) -> None:
    model = made(folder, class_names=NAMES, prompts=["ugly image", "a hill", "a cat"])
    assert model.num_classes == 5 and model.data_classes == 2 and list(model.asked) == [2, 3, 4]
    assert model.sampler(2).classes_of(model, range(4)).tolist() == [2, 3, 4, 2]
    alone = made(folder, prompts=["ugly image", "a hill", "a cat"])
    both = [sample_latents(each, each.sampler(2), [0, 1], noise_of(model)) for each in (model, alone)]
    torch.testing.assert_close(*both)


def test_a_negative_prompt_for_each_counts_the_captions_too(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="1 texts for 3 prompts and captions"):
        made(folder, class_names=NAMES, prompts="a cat", negative_prompt=["ugly"])


def test_captions_need_a_place(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"model\.captions = 'a photo' has no place"):
        made(folder, captions="a photo")


def test_a_model_without_prompts_takes_the_names_of_the_classes_for_nothing(tmp_path: Path) -> None:
    model = MODELS.make("diffusers", pretrained=str(saved("unet2d", tmp_path)), class_names=["a", "b"])
    assert model.num_classes == 0 and model.conditions is None


def test_half_a_precision_is_that_of_the_weights(folder: Path) -> None:
    model = made(folder, prompts="a cat", precision="bfloat16")
    assert {value.dtype for value in model.network.parameters()} == {torch.bfloat16}
    assert sample_latents(model, model.sampler(1), [0]).dtype == torch.float32


class TestScheduler:
    def test_other_settings_are_those_of_diffusers(self, folder: Path) -> None:
        changed = {"name": "DDIMScheduler", "timestep_spacing": "trailing", "clip_sample": False}
        model = made(folder, prompts="a red cat", scheduler=changed)
        assert isinstance(model.scheduler, diffusers.DDIMScheduler)
        pipe = diffusers.StableDiffusionPipeline.from_pretrained(str(folder), use_safetensors=True)
        pipe.scheduler = diffusers.DDIMScheduler.from_config(
            pipe.scheduler.config, timestep_spacing="trailing", clip_sample=False
        )
        noise = noise_of(model)[:1]
        given = {"num_inference_steps": 3, "output_type": "latent", "height": 16, "width": 16}
        theirs = pipe("a red cat", latents=noise, **given).images
        assert relative(sample_latents(model, model.sampler(3), [0], noise), theirs) < 1e-5

    def test_one_that_clips_by_the_way_is_named_with_what_makes_it(self, folder: Path) -> None:
        """`DDIMScheduler.from_config` of a configuration of PNDM turns clipping on, which latents do not have."""
        model = made(folder, prompts="a red cat", scheduler={"name": "DDIMScheduler"})
        assert model.scheduler.config.clip_sample
        with pytest.raises(ConfigurationError, match=r"setting clip_sample = True\. Set it to false"):
            model.sampler(3).stages(model)

    @pytest.mark.parametrize(
        "changed,said",
        [
            ({"clip": True}, r"model\.scheduler: 'clip' is no setting of PNDMScheduler"),
            ({"name": "AutoencoderKL"}, r"model\.scheduler\.name = 'AutoencoderKL' is no scheduler"),
            ({"name": "DimScheduler"}, "is no scheduler"),
        ],
    )
    def test_what_it_does_not_know(self, folder: Path, changed: dict[str, object], said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            made(folder, prompts="a cat", scheduler=changed)
