"""CLIP score against transformers' own logits and torchmetrics."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchmetrics.functional.multimodal import clip_score as their_clip_score

from genuq.errors import ConfigurationError, DataError
from genuq.pretrained.clip import CLIP, ClipModel, clip_score, named
from genuq.pretrained.hub import wanted
from support.small_pipelines import saved_clip

TEXTS = ["a red cat", "two small blue dogs on a big green hill", "ugly and small"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def clip(folder: Path) -> ClipModel:
    return ClipModel(folder)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> tuple[Any, Any]:
    return transformers.CLIPModel.from_pretrained(str(folder)).eval(), transformers.CLIPProcessor.from_pretrained(
        str(folder)
    )


def images(count: int = 3, channels: int = 3, side: int = 20) -> Tensor:
    return torch.randint(0, 256, (count, channels, side, side), generator=torch.Generator().manual_seed(0)).byte()


def test_scores_are_the_models_own_logits(clip: ClipModel, theirs: tuple[Any, Any]) -> None:
    model, processor = theirs
    given = processor(text=TEXTS, images=list(images()), return_tensors="pt", padding=True)
    with torch.no_grad():
        logits = model(**given).logits_per_image / model.logit_scale.exp()
    found = torch.stack([clip_score(clip.of_images(images()), text.expand(3, -1)) for text in clip.of_texts(TEXTS)], 1)
    assert found.dtype == torch.float64 and found.max() > 1
    assert torch.allclose(found, 100 * logits.clamp_min(0).double(), atol=1e-4)


class OfTensors(torch.nn.Module):
    """The model as torchmetrics wants it: features as tensors, which transformers 5 gives no more."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config = model, model.config

    def get_image_features(self, given: Tensor) -> Tensor:
        return self.model.visual_projection(self.model.vision_model(given).pooler_output)

    def get_text_features(self, given: Tensor, mask: Tensor) -> Tensor:
        return self.model.text_projection(self.model.text_model(given, attention_mask=mask).pooler_output)


def test_the_mean_is_torchmetrics(clip: ClipModel, theirs: tuple[Any, Any]) -> None:
    model, processor = theirs
    expected = their_clip_score(list(images()), TEXTS, model_name_or_path=lambda: (OfTensors(model), processor))  # type: ignore[arg-type, return-value]
    signed = torch.nn.functional.cosine_similarity(clip.of_images(images()), clip.of_texts(TEXTS)).mean()
    assert float(100 * signed.clamp_min(0)) == pytest.approx(float(expected.detach()), abs=1e-4)


def test_batches_change_nothing_and_grey_is_three_equal_channels(clip: ClipModel) -> None:
    grey = images(5, channels=1)
    assert torch.allclose(clip.of_images(grey, batch_size=2), clip.of_images(grey.repeat(1, 3, 1, 1)), atol=1e-6)
    assert torch.allclose(clip.of_texts(TEXTS, batch_size=1), clip.of_texts(TEXTS), atol=1e-5)


def test_of_a_long_text_the_beginning_is_read(clip: ClipModel) -> None:
    long = " ".join(["red cat"] * 20)
    assert clip.longest == 12 and clip.too_long([*TEXTS, long]) == [3]
    assert torch.allclose(clip.of_texts([long]), clip.of_texts([" ".join(["red cat"] * 5)]), atol=1e-6)


def test_opposite_embeddings_score_nought() -> None:
    same = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    assert clip_score(same, torch.stack([3 * same[0], -same[1]])).tolist() == pytest.approx([100, 0])


@pytest.mark.parametrize("given", [images().float(), images()[0], images(2, channels=3)[:, :2]])
def test_other_images_are_refused(clip: ClipModel, given: Tensor) -> None:
    with pytest.raises(DataError, match="uint8 images"):
        clip.of_images(given)


def test_names_of_the_hub(tmp_path: Path) -> None:
    assert named(tmp_path / "models--openai--clip" / "snapshots" / "a1") == "openai/clip"
    assert named(tmp_path / "mine") == "mine"


def test_without_transformers_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genuq.pretrained.clip.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'genuq\[pretrained\]'"):
        ClipModel(folder)


def without(pattern: str, folder: Path) -> None:
    for path in folder.glob(pattern):
        path.unlink()


def another_kind(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "siglip"}))


def text_alone(folder: Path) -> None:
    path = folder / "model.safetensors"
    kept = {name: value.clone() for name, value in load_file(path).items() if name.startswith("text")}
    save_file(kept, path, {"format": "pt"})


def as_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    without("model.safetensors", folder)


@pytest.mark.parametrize(
    "spoil,said",
    [
        (lambda folder: without("config.json", folder), "does not hold a CLIPModel"),
        (another_kind, "of type 'siglip'"),
        (text_alone, r"lacks \d+ of CLIP's weights"),
        (as_pickle, "could not be loaded.*model.safetensors"),
        (lambda folder: without("tokenizer.json", folder), "could not be loaded"),
        (lambda folder: without("*processor_config.json", folder), "could not be loaded"),
    ],
)
def test_what_is_not_whole_is_refused(folder: Path, tmp_path: Path, spoil: Any, said: str) -> None:
    place = Path(shutil.copytree(folder, tmp_path / "spoilt"))
    spoil(place)
    with pytest.raises(ConfigurationError, match=f"(?s)metric.prompt_model = .*{said}"):
        ClipModel(place)


def test_of_the_hub_only_what_is_read_is_wanted() -> None:
    read = ["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "vocab.json"]
    others = ["pytorch_model.bin", "flax_model.msgpack", "open_clip_model.safetensors", "onnx/config.json", "run.py"]
    assert wanted([*others, *read], CLIP) == read
