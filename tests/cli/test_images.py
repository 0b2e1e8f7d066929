"""`genuq images`: what it leaves, and how what cannot be ends."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from genuq import files
from genuq.cli import images
from genuq.errors import ConfigurationError, DataError
from support.small_runs import IMAGES, copied

OPTIONS = [text for text in IMAGES if not text.startswith("score.also")]


@pytest.fixture(scope="module")
def trained(images_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(images_run, tmp_path_factory.mktemp("trained") / "images")


@pytest.fixture
def options(trained: Path, image_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Overrides of a finished run, and a folder of images that lies where the command is typed."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(image_root / "test" / "top", tmp_path / "left" / "top")
    return [*OPTIONS, f"data.root={image_root}", f"store={trained}/store", "name=run"]


def rows(out: Path) -> list[dict[str, str]]:
    with open(out / "scores.csv") as file:
        return list(csv.DictReader(file))


def test_table_page_and_kept_images(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before, out = files.state_of("left"), Path("outputs/images/run/left")
    assert images.main(["left", *options, "--keep", "0.25"]) == 0
    said, made = capsys.readouterr().out, rows(out)
    assert "24 images: 0 scored before, 24 to score" in said and "6 of 24 images kept" in said
    assert list(made[0])[:4] == ["rank", "file", "class", "kept"] and len(made) == 24
    names = ("renoised_disagreement", "lid", "self_confidence", "class_margin")
    assert list(made[0])[4:] == [text for name in names for text in (name, f"{name}_percentile")]
    values = [float(row["renoised_disagreement"]) for row in made]
    assert values == sorted(values, reverse=True) and {row["class"] for row in made} == {"top"}
    kept = sorted(path.relative_to(out / "kept").as_posix() for path in (out / "kept").rglob("*.png"))
    assert kept == sorted(row["file"] for row in made[-6:]) == sorted(r["file"] for r in made if r["kept"] == "yes")
    page = (out / "index.html").read_text()
    assert "24 images, from the most to the least doubtful" in page and "genuq images left" in page
    table = (out / "scores.csv").read_bytes()
    assert images.main(["left", *options, "--keep", "0.25", "--link"]) == 0
    assert "24 scored before, 0 to score" in capsys.readouterr().out and (out / "scores.csv").read_bytes() == table
    assert all((out / "kept" / name).is_symlink() for name in kept) and files.state_of("left") == before
    with pytest.raises(ConfigurationError, match=r"scoring\.scores\.lid\.options\.times"):
        images.main(["left", *options, "score=lid", "score.lid_times=[0.2]"])


def test_the_class_of_all_and_another_place(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    given = ["left/top", "--class", "bottom", "--out", "here", *options, "score.name=lid"]
    assert images.main(given) == 0
    assert {row["class"] for row in rows(Path("here"))} == {"bottom"} and not Path("here/kept").exists()
    assert "left out: " in capsys.readouterr().out  # controls of the run that are of no finished image


def test_what_cannot_be_is_refused_before_anything_is_written(options: list[str]) -> None:
    cases: list[tuple[type[Exception], str, list[str]]] = [
        (ConfigurationError, "--keep 2.0", ["left", "--keep", "2.0"]),
        (ConfigurationError, "keeps 24 of 24", ["left", "--keep", "24"]),
        (ConfigurationError, "never changed", ["left", "--out", "left/out"]),
        (ConfigurationError, "neither a command nor an override", ["left", "right"]),
        (ConfigurationError, "several values are a sweep", ["left", "seed=1,2"]),
        (DataError, "is no folder", ["nowhere"]),
        (DataError, "lies in no folder of a class", ["left/top"]),
        (DataError, "'side' is no class", ["left", "--class", "side"]),
    ]
    for kind, words, given in cases:
        with pytest.raises(kind, match=words):
            images.main([*given, *options])
    assert not Path("outputs").exists()
