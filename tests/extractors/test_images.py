import numpy as np
import pytest
import torch
from cleanfid.resize import build_resizer
from PIL import Image

from genuq.extractors import clean_resize, resize


@pytest.mark.parametrize("height, width", [(28, 28), (32, 48), (640, 427)])
def test_clean_resize_agrees_with_clean_fid(height, width):
    image_HWC = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = build_resizer("clean")(image_HWC)
    ours = clean_resize(torch.from_numpy(image_HWC).permute(2, 0, 1)[None] / 255)[0].permute(1, 2, 0) * 255
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-2)  # of 255; PIL adds up in double precision


@pytest.mark.parametrize(
    "name, filter", [("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)]
)
@pytest.mark.parametrize("size", [20, 128])
def test_resize_agrees_with_pil_up_and_down(name, filter, size):
    image_HW = np.random.default_rng(1).random((50, 61), dtype=np.float32)
    expected = np.asarray(Image.fromarray(image_HW).resize((size, size), filter))
    np.testing.assert_allclose(resize(torch.from_numpy(image_HW)[None, None], size, name)[0, 0], expected, atol=1e-5)
