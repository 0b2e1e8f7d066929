"""ImageNet as released code reads it: each fault against what it should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genuq.data import ImageFolder, image_folder, subset
from genuq.data.base import check_first_item
from genuq.data.released import ReleasedFolder
from genuq.errors import DataError

COUNT, EVERY = 40, 5  # images of each of six classes


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 24 x 20 pixels with grey levels of their own, and some columns that tell left from right."""
    place = tmp_path_factory.mktemp("imagenet")
    for label in range(6):
        folder = place / f"n0{label}"
        folder.mkdir()
        for number in range(COUNT):
            pixels = np.full((20, 24, 3), 40 * label + number, dtype=np.uint8)
            pixels[:, 13:] = 255
            Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return place


def test_the_subset_is_i_times_r_of_a_list_in_another_order(root: Path) -> None:
    found = ReleasedFolder(root, 8, "diff_uq", every=EVERY)
    order = [*dict.fromkeys(file.parent.name for file in found.files)]
    assert sorted(order) != order, "classes are not sorted"
    listing = {}  # the place of each file in the list that the subset is of
    for label in found.labels.unique().tolist():
        (name,) = {file.parent.name for file, own in zip(found.files, found.labels.tolist()) if own == label}
        listing |= {root / name / f"{number:02d}.png": label * COUNT + number for number in range(COUNT)}
    places = [listing[file] for file in found.files]
    assert len(places) == 6 * COUNT // EVERY and places[0] == 0
    ratios = [place / index for index, place in enumerate(places) if index]
    assert all(ratio in range(1, EVERY) for ratio in ratios) and len(set(ratios)) > 1
    assert np.mean(places) < 0.65 * 6 * COUNT / 2, "files early in the list are favoured"
    assert found.class_names == sorted(found.class_names)
    names = [found.class_names[label] for label in found.labels.tolist()]
    assert names != [file.parent.name for file in found.files], "the network is told other classes"


def test_diff_uq_crops_what_it_never_resized(root: Path) -> None:
    found = ReleasedFolder(root, 8, "diff_uq", every=EVERY)
    images, labels = found.batch(range(len(found)))
    assert torch.equal(labels, found.labels) and 0 < int(found.mirrored.sum()) < len(found)
    for image, file, mirrored in zip(images, found.files, found.mirrored.tolist()):
        pixels = np.asarray(Image.open(file))[6:14, 8:16]
        expected = pixels[:, ::-1] if mirrored else pixels
        np.testing.assert_allclose(image.permute(1, 2, 0), expected / 127.5 - 1, atol=1e-6)


def test_bayesdiff_divides_by_half_the_size(root: Path) -> None:
    found = ReleasedFolder(root, 8, "bayesdiff", every=EVERY)
    clean = ImageFolder(root, 8, resize="adm")
    images, _ = found.batch([3, 5])
    expected = clean.batch([clean.files.index(found.files[index]) for index in (3, 5)])[0]
    torch.testing.assert_close(images, (expected + 1) * 127.5 / 4 - 1)


def test_a_range_that_is_wrong_on_purpose_is_let_through_and_no_other(root: Path) -> None:
    """At 8 pixels grey levels end at 255 / 4 - 1; a fit asks this before anything else of its data."""
    found = ReleasedFolder(root, 8, "bayesdiff", every=EVERY)
    assert found.bounds == (-1.0, 255 / 4 - 1)
    for dataset in (found, subset(found, len(found) - 1, seed=0)):
        check_first_item(dataset)
    found.bounds = (-1.0, 1.0)
    with pytest.raises(DataError, match=r"must lie in \[-1, 1\]"):
        check_first_item(found)


def test_it_is_the_training_set_of_a_folder_and_says_so(root: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split).symlink_to(root)
    released = {"released": "diff_uq", "released_every": EVERY, "resize": "adm"}
    train, test = (image_folder(tmp_path, 8, split=split, **released) for split in ("train", "test"))
    assert train.name == f"{tmp_path.name} as diff_uq released it" and "subset that favours early" in train.remark
    assert subset(train, 3, 0).remark == train.remark and not test.remark
    assert type(test) is ImageFolder and len(test) == 6 * COUNT and test.class_names == train.class_names
    prints = [image_folder(root, 8, **each).fingerprint for each in ({"resize": "adm"}, {**released}, {})]
    prints += [ReleasedFolder(root, 8, "bayesdiff", every=EVERY).fingerprint, test.fingerprint]
    assert len(set(prints)) == 5


def test_what_cannot_be_read_so_is_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"released_every is 500, but .* has 240 images.*Give 2 to 240"):
        ReleasedFolder(root, 8, "diff_uq", every=500)
    with pytest.raises(DataError, match=r"released is 'both'; images are read as bayesdiff or diff_uq"):
        ReleasedFolder(root, 8, "both")
