"""Contact sheets and sprite sheets hold exactly the images they were given."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from genuq.errors import DataError
from genuq.report.drawing import pictures
from genuq.report.drawing.pictures import page_sprites, sample_grid, shrunk, sprites


def random_images(count, channels=1, height=6, width=4):
    return np.random.default_rng(0).integers(0, 256, (count, channels, height, width)).astype(np.uint8)


def decoded(uri):
    kind, text = uri.split(",", 1)
    return kind, np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_places_images_row_by_row(channels):
    images = random_images(5, channels)
    grid = np.asarray(sample_grid(torch.from_numpy(images), columns=3, gap=2)).reshape(14, 16, channels)
    for n in range(5):
        row, column = divmod(n, 3)
        tile = grid[row * 8 : row * 8 + 6, column * 6 : column * 6 + 4]
        np.testing.assert_array_equal(tile, images[n].transpose(1, 2, 0))
    assert (grid[6:8] == 255).all() and (grid[8:, 12:] == 255).all()


@pytest.mark.parametrize(
    "wrong", [random_images(2).astype(np.float32), random_images(2)[0], random_images(2, channels=2)]
)
def test_grid_refuses_what_is_not_images(wrong):
    with pytest.raises(DataError, match=r"uint8 \(N, C, H, W\)"):
        sample_grid(wrong, columns=2)


def test_grid_needs_a_column():
    with pytest.raises(DataError, match="at least one column"):
        sample_grid(random_images(2), columns=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_sprite_is_found_where_the_layout_says(channels, monkeypatch):
    monkeypatch.setattr(pictures, "SHEET_PIXELS", 20)
    images = random_images(37, channels)
    packed = sprites(images)
    assert len(packed.sheets) > 1
    sheets = [decoded(sheet)[1] for sheet in packed.sheets]
    for n, image in enumerate(images):
        within = n % packed.per_sheet
        y, x = (within // packed.columns) * packed.height, (within % packed.columns) * packed.width
        tile = sheets[n // packed.per_sheet][y : y + 6, x : x + 4].reshape(6, 4, channels)
        np.testing.assert_array_equal(tile, image.transpose(1, 2, 0))


def test_sprites_over_the_budget_become_lossy_then_smaller():
    images = random_images(40, 3, 64, 64)
    lossless, tight = page_sprites([images], 10**6)[0], page_sprites([images], 100_000)[0]
    assert decoded(lossless.sheets[0])[0].startswith("data:image/png")
    assert decoded(tight.sheets[0])[0].startswith("data:image/webp")
    assert sum(map(len, tight.sheets)) <= 134_000 and tight.width < 64


def test_shrinking_keeps_the_proportions_and_the_mean():
    images = random_images(2, 3, 120, 60)
    small = shrunk(images, 40)
    assert small.shape == (2, 3, 40, 20) and small.dtype == np.uint8
    np.testing.assert_allclose(small.mean(), images.mean(), atol=1)
    assert shrunk(images, 120) is images
