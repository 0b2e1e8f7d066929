"""Files of released weights: what is read, what is refused unopened, and the autoencoder around latents."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from genuq.errors import CheckpointError, ConfigurationError
from genuq.models import MODELS
from genuq.networks.published import FAMILIES
from genuq.pretrained import released as reading
from genuq.pretrained.released import autoencoder_of, found, image_shape, read_weights
from support.released import EDM2, SMALL, small
from support.small_pipelines import kl

NAMES = ("adm", "uvit", "edm2")


def state(name: str) -> dict[str, torch.Tensor]:
    """A file's content; EDM2's is of the network before its weights are stored as they are used."""
    from genuq.networks.edm2 import EDM2, EDM2Settings
    from support import released

    torch.manual_seed(0)
    network = EDM2(EDM2Settings(**released.EDM2)) if name == "edm2" else small(name).network
    return {key: value.clone() for key, value in network.state_dict().items()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_are_read_from_both_kinds_of_file(name: str, suffix: str, tmp_path: Path) -> None:
    path, weights = tmp_path / f"w{suffix}", state(name)
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    assert all(torch.equal(value, weights[key]) for key, value in read_weights(path).items())
    model = small(name, checkpoint=str(path))
    if name != "edm2":
        assert all(torch.equal(value, weights[key]) for key, value in model.network.state_dict().items())
    x, t_B, y_B = torch.randn(2, 3, 8, 8), torch.tensor([0.2, 0.9]), torch.tensor([0, 2])
    assert model.eval()(x, t_B, y_B).shape == x.shape


def test_a_pickle_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps({"ema": "anything"}, protocol=4))
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(CheckpointError, match=r"model\.checkpoint = .*w\.pkl is a pickle, .* not opened.*released_net"):
        read_weights(path)


@pytest.mark.parametrize("content", [{"a": torch.ones(1), "step": 3}, [torch.ones(1)], {"model": {"a": torch.ones(1)}}])
def test_an_archive_of_anything_else_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="holds no plain state dictionary"):
        read_weights(tmp_path / "w.pt")


def test_an_archive_of_objects_is_refused(tmp_path: Path) -> None:
    torch.save({"a": Path("somewhere")}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="cannot be read as tensors alone"):
        read_weights(tmp_path / "w.pt")


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    with pytest.raises(CheckpointError, match="neither safetensors nor an archive"):
        read_weights(tmp_path / "w.safetensors")


def test_a_wrong_file_is_named_with_what_was_asked_for(tmp_path: Path) -> None:
    save_file(state("uvit"), tmp_path / "w.safetensors")
    with pytest.raises(
        CheckpointError, match=r"model\.checkpoint = .*w\.safetensors is no released .* but ADM imagenet"
    ):
        small("adm", checkpoint=str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize(
    ("family", "key", "expected"),
    [
        ("adm", "checkpoint", r"model\.checkpoint: nowhere\.pt does not exist\. .*guided-diffusion \(128x128_diff"),
        ("adm", "classifier", r"model\.classifier: nowhere\.pt does not exist\. .*128x128_classifier\.pt"),
        ("uvit", "checkpoint", r"does not exist\. .*baofff/U-ViT"),
        ("edm2", "checkpoint", r"does not exist\. .*posthoc-reconstructions.*converted once"),
        ("uvit", "autoencoder", r"model\.autoencoder: nowhere\.pt holds no config\.json.*sd-vae-ft-ema"),
    ],
)
def test_what_is_missing_is_named_with_where_it_is_to_be_had(family: str, key: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        found(family, {key: "nowhere.pt"})


@pytest.mark.parametrize(("preset", "latent"), [("imagenet_64_mid", False), ("imagenet_256_large", True)])
def test_networks_of_latents_need_an_autoencoder_and_others_take_none(
    preset: str, latent: bool, tmp_path: Path
) -> None:
    folder = None if latent else tmp_path
    with pytest.raises(ConfigurationError, match="needs the autoencoder" if latent else "takes no autoencoder"):
        autoencoder_of(folder, latent, preset, outline=False)


@pytest.mark.parametrize("outline", [False, True])
def test_images_are_as_large_as_the_autoencoder_makes_them(outline: bool, tmp_path: Path) -> None:
    kl(reductions=2, scaling_factor=0.5).save_pretrained(tmp_path)
    around = autoencoder_of(tmp_path, True, "imagenet_256_huge", outline)
    assert around is not None and next(around.parameters()).is_meta is outline
    assert image_shape(around, (4, 32, 32)) == (3, 128, 128) and image_shape(None, (3, 8, 8)) == (3, 8, 8)


def test_a_folder_without_a_class_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"names no _class_name"):
        autoencoder_of(tmp_path, True, "imagenet_256_huge", outline=False)


@pytest.mark.parametrize("name", NAMES)
def test_full_size_models_are_built_without_a_weight(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "read_weights", None)
    preset = {"adm": "imagenet_512", "uvit": "imagenet_64_large", "edm2": "imagenet_64_s"}[name]
    model = MODELS.make(name, preset=preset, checkpoint="nowhere.pt", outline=True)
    assert all(value.is_meta for value in model.network.parameters()) and model.num_classes == 1000


@pytest.mark.parametrize("name", ["adm", "uvit", "edm2"])
def test_a_second_file_guides(name: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    preset, changed = SMALL[name]
    network = FAMILIES[name].network(FAMILIES[name].settings(preset, changed))
    for key, value in network.named_parameters():
        if key.endswith("_gain"):
            torch.nn.init.ones_(value)
    save_file({key: value.detach().clone() for key, value in network.state_dict().items()}, tmp_path / "g.safetensors")
    model, alone = small(name, guide=str(tmp_path / "g.safetensors")), small(name)
    other = small(name, checkpoint=str(tmp_path / "g.safetensors"))
    x, t_B, y_B = torch.randn(2, 3, 8, 8), torch.tensor([0.2, 0.9]), torch.tensor([0, 2])
    with torch.no_grad():
        own, weaker = alone(x, t_B, y_B), other(x, t_B, y_B)
        assert not torch.equal(own, weaker)
        torch.testing.assert_close(model.guided(x, t_B, y_B, 1.8), 1.8 * own - 0.8 * weaker, rtol=1e-4, atol=1e-4)
    assert model.branches(1.8) == 2 and not model.has_null
    outlined = small(name, guide=str(tmp_path / "g.safetensors"), outline=True)
    assert next(outlined.guide.network.parameters()).is_meta


def test_a_network_that_knows_no_classes_guides_edm2(tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = FAMILIES["edm2"].network(FAMILIES["edm2"].settings("imagenet_64_s", EDM2 | {"label_dim": 0}))
    save_file({key: value.detach().clone() for key, value in network.state_dict().items()}, tmp_path / "g.safetensors")
    model = small("edm2", guide=str(tmp_path / "g.safetensors"), guide_changed=EDM2 | {"label_dim": 0})
    x, t_B = torch.randn(2, 3, 8, 8), torch.tensor([0.2, 0.9])
    assert model.guide.num_classes == 0 and model.guided(x, t_B, torch.tensor([0, 2]), 2.0).shape == x.shape


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"guide": "nowhere.pt"}, r"model\.guide: nowhere\.pt does not exist"),
        ({"guide_preset": "imagenet_64"}, r"model\.guide_preset is of the network that guides: .* model\.guide=FILE"),
        ({"guide_changed": {"dropout": 0.1}}, r"model\.guide_changed is of the network that guides"),
    ],
)
def test_what_a_guide_lacks_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        found("adm", given)


def test_a_guide_of_another_network_is_named(tmp_path: Path) -> None:
    save_file(state("uvit"), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.guide = .*w\.safetensors"):
        small("adm", guide=str(tmp_path / "w.safetensors"))


def test_a_classifier_beside_a_guide_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"model\.classifier and model\.guide both say what guides"):
        small("adm", guide="a.pt", classifier="b.pt")
