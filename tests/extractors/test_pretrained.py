import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub.utils import EntryNotFoundError
from safetensors.torch import save_file

from genuq import extractors
from genuq.errors import CheckpointError, ConfigurationError
from genuq.extractors.pretrained import Timm

SMALL = "test_vit.r160_in1k"  # 0.4 M parameters, 160 pixels


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return timm.create_model(SMALL, pretrained=False).eval()


@pytest.fixture
def checkpoint(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(model.state_dict(), str(path))
    return path


def test_checkpoint_gives_timms_own_features(model, checkpoint):
    """Oracle: timm's preprocessing and its pooled features, by timm's own verbs."""
    data = timm.data.resolve_model_data_config(model)
    images = torch.rand(3, 3, 160, 160)
    mean, deviation = (torch.tensor(data[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = model.forward_head(model.forward_features((images - mean) / deviation), pre_logits=True)
    extractor = Timm(SMALL, checkpoint=checkpoint)
    torch.testing.assert_close(extractor(images), expected, rtol=1e-4, atol=1e-5)
    assert extractor.dimension == expected.shape[1] and extractor.name.startswith(f"{SMALL}-160-sha256-")


def test_another_size_resamples_positions(checkpoint):
    extractor = Timm(SMALL, image_size=96, checkpoint=checkpoint)
    assert extractor.extract(torch.rand(2, 1, 28, 28)).shape == (2, extractor.dimension)
    assert "-96-" in extractor.name


def test_a_state_dict_of_torch_gives_the_same_features(model, checkpoint, tmp_path):
    torch.save({"state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}}, tmp_path / "t.pt")
    images = torch.rand(2, 3, 160, 160)
    found = Timm(SMALL, checkpoint=tmp_path / "t.pt")(images)
    assert torch.equal(found, Timm(SMALL, checkpoint=checkpoint)(images))


def test_no_loader_of_timms_opens_a_file(monkeypatch, model, checkpoint, tmp_path):
    """Some versions of timm open pickles with all their code: whatever is installed, it is not asked."""

    def refuse(*arguments, **options):
        pytest.fail("timm opened a file")

    monkeypatch.setattr(timm.models, "load_state_dict", refuse)
    monkeypatch.setattr(timm.models._builder, "load_pretrained", refuse)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *arguments: None)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *arguments, **options: None)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")

    def download(repository, name):
        if not (tmp_path / name).exists() or name == "model.safetensors":
            raise EntryNotFoundError(name)
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    images = torch.rand(1, 3, 160, 160)
    assert torch.equal(Timm(SMALL)(images), Timm(SMALL, checkpoint=checkpoint)(images))


def test_names_without_a_tag_are_completed():
    assert Timm("test_vit", pretrained=False).name == f"{SMALL}-160-untrained"


def test_convolutional_models_need_no_fixed_size():
    extractor = extractors.build("test_resnet.r160_in1k", image_size=64, pretrained=False)
    assert extractor.extract(torch.rand(2, 3, 32, 32)).shape == (2, extractor.dimension)


def test_clip_is_the_projected_image_embedding():
    clip = extractors.build("clip", pretrained=False)
    assert clip.dimension == 512 and clip.image_size == 224
    assert type(clip.model.blocks[0].mlp.act).__name__ == "QuickGELU"
    with torch.no_grad():
        images = torch.rand(1, 3, 224, 224)
        tokens = clip.model.forward_features(clip.normalise(images))
        expected = clip.model.head(tokens[:, 0])
    torch.testing.assert_close(clip(images), expected, rtol=1e-4, atol=1e-5)


def test_checkpoint_of_another_model_lists_the_keys(tmp_path, model):
    state = {key: value for key, value in model.state_dict().items() if key != "blocks.0.norm1.weight"}
    save_file(state, str(tmp_path / "less.safetensors"))
    with pytest.raises(CheckpointError, match=r"blocks\.0\.norm1\.weight"):
        Timm(SMALL, checkpoint=tmp_path / "less.safetensors")


def test_damaged_and_missing_checkpoints_are_named(tmp_path, checkpoint):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"damaged\.safetensors is damaged"):
        Timm(SMALL, checkpoint=damaged)
    with pytest.raises(CheckpointError, match=r"none\.safetensors of the extractor does not exist"):
        Timm(SMALL, checkpoint=tmp_path / "none.safetensors")


def test_unknown_names_are_told_the_near_ones():
    with pytest.raises(ConfigurationError, match="vit_base_patch16_224"):
        Timm("vit_base_patch16_244.dino")
    with pytest.raises(ConfigurationError, match=r"Invalid pretrained tag \(dinoo\).*vit_base_patch16_224\.dino"):
        Timm("vit_base_patch16_224.dinoo")
    with pytest.raises(ConfigurationError, match="Did you mean 'dinov2'"):
        extractors.build("dinov3x")


def test_without_network_one_request_and_a_way_out(monkeypatch, tmp_path):
    requests = []

    def refuse(url, **options):
        requests.append(url)
        raise ConnectionError("no route to host")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *arguments: None)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
    monkeypatch.setattr(
        timm, "create_model", lambda *arguments, **options: pytest.fail("timm would retry for a minute")
    )
    with pytest.raises(
        extractors.WeightsUnavailableError, match=r"ConnectionError.*hf download timm/vit_base.*HF_HOME"
    ):
        extractors.build("dino")
    assert len(requests) == 1


def test_cached_weights_need_no_request(monkeypatch, checkpoint):
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda repository, name: str(checkpoint) if "model" in name else None
    )
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: pytest.fail("asked the network"))
    images = torch.rand(1, 3, 160, 160)
    cached = Timm(SMALL)
    assert cached.name == f"{SMALL}-160"
    torch.testing.assert_close(cached(images), Timm(SMALL, checkpoint=checkpoint)(images))
