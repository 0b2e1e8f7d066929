"""Images as somebody left them in a folder: read as they are, known by their pixels, labelled by folders."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genuq.data.folder import ImageFolder
from genuq.data.loose_images import LooseImages, pixel_digest
from genuq.errors import DataError

SHAPE = (1, 6, 6)
CLASSES = ["Ankle boot", "T-shirt/top"]


def save(path: Path, seed: int = 0, size: tuple[int, int] = (6, 6), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "left"
    for seed, name in enumerate(["T-shirt_top/b.png", "Ankle boot/deep/a.png", "T-shirt_top/a.bmp"]):
        save(root / name, seed)
    save(root / ".thumbnails" / "a.png")
    (root / "notes.txt").write_text("no image")
    return root


def test_files_are_read_in_order_as_they_are_stored(folder: Path) -> None:
    found = LooseImages(folder, SHAPE)
    assert found.names == ["Ankle boot/deep/a.png", "T-shirt_top/a.bmp", "T-shirt_top/b.png"]
    for row, name in enumerate(found.names):
        with Image.open(folder / name) as image:
            np.testing.assert_array_equal(found.pixels([row])[0, 0].numpy(), np.asarray(image))
    images, labels = found.batch([2, 0])
    torch.testing.assert_close(images, found.pixels([2, 0]).float() * 2 / 255 - 1)
    assert labels.tolist() == [0, 0] and found.num_classes == 1 and len(found) == 3


def test_classes_are_the_names_of_folders_or_the_one_asked_for(folder: Path) -> None:
    assert LooseImages(folder, SHAPE, CLASSES).labels.tolist() == [0, 1, 1]
    assert LooseImages(folder, SHAPE, CLASSES, "T-shirt/top").labels.tolist() == [1, 1, 1]
    assert LooseImages(folder / "T-shirt_top", SHAPE, CLASSES, "Ankle boot").labels.tolist() == [0, 0]


def test_a_class_has_a_number_where_no_name_is_one(folder: Path) -> None:
    assert LooseImages(folder, SHAPE, CLASSES, "1").labels.tolist() == [1, 1, 1]
    assert LooseImages(folder, SHAPE, ["1", "0"], "1").labels.tolist() == [0, 0, 0]
    for known, asked in ((CLASSES, "2"), (["1", "2"], "0")):
        with pytest.raises(DataError, match="no class of the model"):
            LooseImages(folder, SHAPE, known, asked)


def test_an_image_is_known_by_its_pixels(folder: Path) -> None:
    done: list[int] = []
    found = LooseImages(folder, SHAPE)
    before = found.digests(done.append)
    assert len(set(before)) == 3 and sum(done) == 3 and before == [pixel_digest(found.pixels([n])[0]) for n in range(3)]
    fingerprint = found.fingerprint
    (folder / "T-shirt_top" / "b.png").rename(folder / "0.png")  # first now, and another name
    after = LooseImages(folder, SHAPE)
    assert after.digests() == [before[2], *before[:2]] and after.fingerprint != fingerprint
    assert pixel_digest(torch.zeros(1, 2, 3, dtype=torch.uint8)) != pixel_digest(
        torch.zeros(1, 3, 2, dtype=torch.uint8)
    )
    assert hashlib.sha256().digest_size * 2 == len(before[0])


def test_other_sizes_and_colours_are_fitted_only_where_that_is_asked_for(tmp_path: Path) -> None:
    save(tmp_path / "images" / "x" / "wide.png", size=(13, 9), mode="RGB")
    with pytest.raises(DataError, match=r"wide\.png is 13 x 9 pixels of mode RGB.*6 x 6 of mode L.*--resize"):
        LooseImages(tmp_path / "images", SHAPE).verify()
    fitted = LooseImages(tmp_path / "images", SHAPE, resize=True)
    fitted.verify()
    assert torch.equal(fitted.batch([0])[0], ImageFolder(tmp_path / "images", 6, channels=1).batch([0])[0])


def test_all_that_cannot_be_used_is_named_at_once(folder: Path) -> None:
    (folder / "broken.png").write_bytes((folder / "T-shirt_top" / "b.png").read_bytes()[:45])
    save(folder / "large.png", size=(7, 6))
    save(folder / "coloured.png", mode="RGBA")
    with pytest.raises(DataError, match="3 of 6 images") as error:
        LooseImages(folder, SHAPE).digests()
    assert all(name in str(error.value) for name in ("broken.png", "large.png", "7 x 6", "coloured.png", "RGBA"))


def test_what_cannot_be_is_refused_with_the_remedy(folder: Path, tmp_path: Path) -> None:
    save(folder / "loose.png")
    (tmp_path / "empty").mkdir()
    cases = [
        ("no folder", (tmp_path / "nowhere", SHAPE), {}),
        ("has no images", (tmp_path / "empty", SHAPE), {}),
        (r"loose\.png lies in no folder of a class.*--class", (folder, SHAPE, CLASSES), {}),
        ("'Boots' is no class of the model", (folder, SHAPE, CLASSES, "Boots"), {}),
        ("T-shirt_top: 'T-shirt_top' is no class", (folder, SHAPE, ["Ankle boot"]), {}),
        ("--class x: the model knows no classes", (folder, SHAPE, [], "x"), {}),
        ("image files do not hold", (folder, (2,)), {}),
        ("image files do not hold", (folder, (4, 6, 6)), {}),
        ("--resize makes squares", (folder, (1, 6, 8)), {"resize": True}),
    ]
    for words, given, options in cases:
        with pytest.raises(DataError, match=words):
            LooseImages(*given, **options)
