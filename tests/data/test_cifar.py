"""CIFAR-10's binary batches, byte by byte, and the same bytes from a PNG with an image a row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genuq.data import cifar
from genuq.data.routes import AbsentError
from genuq.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
LABELS = [3, 9, 0, 7]
CONTENT = b"".join(bytes([label]) + image.tobytes() for label, image in zip(LABELS, IMAGES))


def test_a_row_is_its_label_and_its_pixels_by_channel_and_row() -> None:
    half = len(CONTENT) // 2
    images, labels = cifar.parse_batches([CONTENT[:half], CONTENT[half:]])
    assert labels.tolist() == LABELS
    np.testing.assert_array_equal(images.numpy(), IMAGES)


@pytest.mark.parametrize("folder", [".", "cifar-10-batches-bin"])
def test_an_official_batch_is_read_as_it_is(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "data_batch_1.bin").write_bytes(CONTENT)
    assert cifar.read_batch(tmp_path, "data_batch_1.bin") == CONTENT


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The second training batch and the test batch of the package of PNGs, four images each."""
    monkeypatch.setattr(cifar, "BATCH", 4)
    rows = np.ascontiguousarray(IMAGES.reshape(4, 3, 1024).transpose(0, 2, 1))
    for name in ("data_batch_2", "test_batch"):
        Image.fromarray(rows).save(tmp_path / f"{name}.png")
    (tmp_path / "train_lables.json").write_text(json.dumps([1, 1, 1, 1, *LABELS]))
    (tmp_path / "test_lables.json").write_text(json.dumps(LABELS))
    return tmp_path


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch"])
def test_a_batch_is_rebuilt_from_its_picture(name: str, pictures: Path) -> None:
    assert cifar.read_batch(pictures, f"{name}.bin") == CONTENT


def test_what_is_damaged_or_absent_is_named(pictures: Path) -> None:
    (pictures / "train_lables.json").write_text("[1, 2")
    with pytest.raises(DataError, match=r"data_batch_2\.png or the labels beside it are damaged"):
        cifar.read_batch(pictures, "data_batch_2.bin")
    with pytest.raises(AbsentError, match=r"neither data_batch_5\.bin .* nor data_batch_5\.png"):
        cifar.read_batch(pictures, "data_batch_5.bin")
