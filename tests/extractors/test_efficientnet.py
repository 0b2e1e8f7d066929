import pytest
import torch
from sklearn.datasets import load_sample_images

from genuq import extractors
from genuq.errors import CheckpointError
from genuq.extractors import efficientnet


@pytest.fixture(scope="module")
def published():
    return efficientnet.read_published()


@pytest.fixture(scope="module")
def small():
    return extractors.build("efficientnet", image_size=64)


def photograph(name):
    """The centre square of a photograph that scikit-learn ships, (1, 3, S, S) uint8."""
    photographs = load_sample_images()
    index = next(i for i, path in enumerate(photographs.filenames) if path.endswith(name))
    image_CHW = torch.from_numpy(photographs.images[index].copy()).permute(2, 0, 1)
    side = min(image_CHW.shape[1:])
    top, left = ((size - side) // 2 for size in image_CHW.shape[1:])
    return image_CHW[None, :, top : top + side, left : left + side]


# ImageNet classes: 985 daisy, the nearest to a dahlia; 698 palace, 442 bell cote, 975 lakeside for the Summer Palace.
@pytest.mark.parametrize("name, first, among", [("flower.jpg", 985, {985}), ("china.jpg", 698, {698, 442, 975})])
def test_recognises_photographs(name, first, among):
    extractor = extractors.EfficientNetLite0(image_size=224)
    with torch.no_grad():
        logits = extractor.network(extractor.prepare(photograph(name).float() / 255))
    best = logits[0].topk(5).indices.tolist()
    assert best[0] == first and among <= set(best)


def test_features_do_not_depend_on_the_batch(small):
    images = torch.rand(9, 1, 28, 28)
    together = small.extract(images, batch_size=9)
    assert together.std(0).max() > 0.05  # they do depend on the image
    torch.testing.assert_close(small.extract(images, batch_size=1), together, rtol=0, atol=1e-4)
    order = torch.randperm(9)
    torch.testing.assert_close(small.extract(images[order], batch_size=4), together[order], rtol=0, atol=1e-4)


def test_grey_is_three_equal_channels(small):
    images = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(small(images), small(images.repeat(1, 3, 1, 1)), rtol=0, atol=1e-5)


def test_name_tells_what_changes_the_features(small):
    assert small.name == "efficientnet-lite0-imagenet-64-bilinear" and small.dimension == 1280
    assert not any(parameter.requires_grad for parameter in small.parameters())


def test_truncated_weights_say_how_to_mend_them(tmp_path, monkeypatch):
    damaged = tmp_path / "weights.pth"
    damaged.write_bytes(efficientnet._published_path().read_bytes()[:10_000])
    monkeypatch.setattr(efficientnet, "_published_path", lambda: damaged)
    with pytest.raises(CheckpointError, match="force-reinstall"):
        efficientnet.read_published()
