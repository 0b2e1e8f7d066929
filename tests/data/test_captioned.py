"""Files of captions beside images: what they say, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from genuq.data.captioned import CaptionedFolder, captions_of
from genuq.errors import DataError


def folder_with(folder: Path, text: str, name: str = "metadata.jsonl") -> Path:
    (folder / name).write_text(text)
    return folder


def test_jsonl_and_csv_say_the_same(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    lines = '{"file_name": "x/1.png", "text": " a cat, red "}\n\n{"file_name": "2.png", "text": "a dog"}\n'
    table = 'file_name,text\nx/1.png," a cat, red "\n2.png,a dog\n'
    expected = {"x/1.png": "a cat, red", "2.png": "a dog"}
    assert captions_of(folder_with(tmp_path / "a", lines)) == expected
    assert captions_of(folder_with(tmp_path / "b", table, "metadata.csv")) == expected


@pytest.mark.parametrize("column", ["text", "caption", "prompt"])
def test_columns_that_people_use(tmp_path: Path, column: str) -> None:
    assert captions_of(folder_with(tmp_path, f'{{"file_name": "1.png", "{column}": "a"}}')) == {"1.png": "a"}


def test_no_file_of_captions(tmp_path: Path) -> None:
    assert captions_of(tmp_path) is None


@pytest.mark.parametrize(
    "text,said",
    [
        ("", "has no rows"),
        ("{", "cannot be read"),
        ("[1]", "row 1: it needs file_name"),
        ('{"file_name": "1.png"}', "row 1: it needs file_name and a text"),
        ('{"file_name": "1.png", "text": "a"}\n{"text": "a"}', "row 2"),
        ('{"file_name": "../1.png", "text": "a"}', "outside the folder"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        captions_of(folder_with(tmp_path, text))


def test_two_files_are_one_too_many(tmp_path: Path) -> None:
    folder_with(tmp_path, "file_name,text\n1.png,a", "metadata.csv")
    with pytest.raises(DataError, match="has both"):
        captions_of(folder_with(tmp_path, '{"file_name": "1.png", "text": "a"}'))


def made(folder: Path, **captions: str) -> CaptionedFolder:
    texts = {f"{name}.png": text for name, text in captions.items()}
    return CaptionedFolder(folder, 8, 3, "", texts, ["a", "b"])


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 images of the captions .* not there, x\.png"):
        made(tmp_path, x="a")


def test_the_fingerprint_knows_whose_caption_is_whose(tmp_path: Path) -> None:
    for name in ("x", "y"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    assert made(tmp_path, x="a", y="b").fingerprint == made(tmp_path, y="b", x="a").fingerprint
    assert made(tmp_path, x="a", y="b").fingerprint != made(tmp_path, x="b", y="a").fingerprint
