import pytest
import torch
from torch import nn

from genuq import extractors
from genuq.errors import DataError, NonFiniteError


def channel_means(images_BCHW):
    return images_BCHW.mean((2, 3))


@pytest.fixture
def means():
    return extractors.FromCallable(channel_means, "means", 3)


def test_extract_agrees_with_one_call_for_every_batch_size(means):
    images = torch.rand(11, 3, 5, 6)
    for batch_size in (1, 4, 11, 100):
        torch.testing.assert_close(means.extract(images, batch_size), images.mean((2, 3)))


def test_uint8_and_unit_range_mean_the_same(means):
    images = torch.randint(0, 256, (4, 3, 5, 5), dtype=torch.uint8)
    torch.testing.assert_close(means.extract(images), means.extract(images.float() / 255))


def test_progress_counts_every_image_once(means):
    done = []
    means.extract(torch.rand(10, 3, 4, 4), batch_size=4, progress=done.append)
    assert done == [4, 4, 2]


def test_half_precision_features_come_back_as_float32():
    extractor = extractors.FromCallable(lambda x: channel_means(x).half(), "half", 3)
    assert extractor(torch.rand(2, 3, 4, 4)).dtype == torch.float32


def test_no_images_give_no_features(means):
    assert means.extract(torch.empty(0, 3, 4, 4)).shape == (0, 3)


def test_extractor_stays_in_evaluation_mode_and_records_no_gradient():
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 2))
    extractor = extractors.FromCallable(network, "dropout", 2).train()
    images = torch.rand(3, 3, 2, 2)
    first, second = extractor(images), extractor(images)
    assert not network.training and not first.requires_grad
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize(
    "images, message",
    [
        (torch.rand(3, 4, 4), r"\(B, C, H, W\)"),
        (torch.rand(2, 4, 4, 4), "C = 1 or 3"),
        (torch.rand(2, 3, 4, 4) * 2 - 1.5, r"\(images.clamp\(-1, 1\) \+ 1\) / 2"),
        (torch.ones(2, 3, 4, 4, dtype=torch.int64), "int64"),
    ],
)
def test_wrong_images_are_named(means, images, message):
    with pytest.raises(DataError, match=message):
        means(images)


def test_broken_pixels_and_features_are_named(means):
    with pytest.raises(NonFiniteError, match="Images has 48 NaN"):
        means(torch.full((1, 3, 4, 4), torch.nan))
    broken = extractors.FromCallable(lambda x: channel_means(x) / 0, "exploding", 3)
    with pytest.raises(NonFiniteError, match="extractor 'exploding'"):
        broken.extract(torch.rand(2, 3, 4, 4) + 0.0)


def test_features_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"'short' returned \(2, 3\) instead of \(2, 7\)"):
        extractors.FromCallable(channel_means, "short", 7)(torch.rand(2, 3, 4, 4))
