"""Splits of a folder of images, in class folders or with captions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from genuq.data import ImageFolder, image_folder
from genuq.data.captioned import CaptionedFolder
from genuq.errors import DataError


def save(path: Path, grey: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), grey).save(path)


def captioned(folder: Path, **texts: str) -> Path:
    """Images NAME.png with their texts."""
    for number, name in enumerate(texts):
        save(folder / f"{name}.png", 10 * number)
    rows = [json.dumps({"file_name": f"{name}.png", "text": text}) for name, text in texts.items()]
    (folder / "metadata.jsonl").write_text("\n".join(rows))
    return folder


def test_splits_of_a_root(tmp_path: Path) -> None:
    save(tmp_path / "whole" / "a" / "0.png")
    assert len(image_folder(tmp_path / "whole", 8, split="train")) == 1, "an undivided root is a training set"
    with pytest.raises(DataError, match=r"no folder for the test split. Make test or val"):
        image_folder(tmp_path / "whole", 8, split="test")
    save(tmp_path / "divided" / "val" / "a" / "0.png")
    assert len(image_folder(tmp_path / "divided", 8, split="test")) == 1
    with pytest.raises(DataError, match="no folder for the train split"):
        image_folder(tmp_path / "divided", 8, split="train")


def test_class_folders_stay_what_they_are(tmp_path: Path) -> None:
    save(tmp_path / "a" / "0.png")
    found = image_folder(tmp_path, 8)
    assert type(found) is ImageFolder and found.class_names == ["a"]


def test_captions_are_numbered_through_all_splits(tmp_path: Path) -> None:
    captioned(tmp_path / "train", x="two dogs", y="a cat", z="two dogs")
    captioned(tmp_path / "test", x="a hill", y="a cat")
    train, test = (image_folder(tmp_path, 8, 1, split) for split in ("train", "test"))
    assert isinstance(train, CaptionedFolder) and train.name == tmp_path.name
    assert train.class_names == test.class_names == ["a cat", "a hill", "two dogs"]
    assert train.labels.tolist() == [2, 0, 2] and test.labels.tolist() == [1, 0]
    images, labels = train.batch([1])
    torch.testing.assert_close(images, torch.full((1, 1, 8, 8), 2 * 10 / 255 - 1))
    assert labels.tolist() == [0]


def test_a_folder_without_splits_has_its_own_captions(tmp_path: Path) -> None:
    found = image_folder(captioned(tmp_path, x="a cat"), 8)
    assert found.class_names == ["a cat"] and len(found) == 1


def test_captions_and_the_released_readings_of_class_folders_exclude_each_other(tmp_path: Path) -> None:
    captioned(tmp_path, x="a cat")
    with pytest.raises(DataError, match=r"data.released = 'diff_uq' .* has captions. Leave data.released out"):
        image_folder(tmp_path, 8, released="diff_uq")
