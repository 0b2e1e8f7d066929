"""The report's folder: its own is written again, what is not its own is refused and stays as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from genuq import files
from genuq.errors import ArtefactError, ConfigurationError
from genuq.report.images.folder import KEPT, RECORD, ReportFolder, differing

MADE = {"folder": "x", "scoring": {"seed": 0, "scores": ["lid"]}}
NAMES = ["a.png", "deep/b.png", "c.png"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "images"


def claimed(tmp_path: Path, made: dict | None = None) -> ReportFolder:
    return ReportFolder.claimed(tmp_path / "out", tmp_path / "images", made or MADE)


def kept(tmp_path: Path) -> list[str]:
    folder = tmp_path / "out" / KEPT
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def keep(tmp_path: Path, source: Path, names: list[str], link: bool = False) -> None:
    folder = claimed(tmp_path)
    folder.check_kept()
    folder.write({"scores.csv": "x"})
    folder.keep(names, source, link, lambda done: None)


@pytest.mark.parametrize("link", [False, True])
def test_what_is_kept_follows_the_last_call(source: Path, tmp_path: Path, link: bool) -> None:
    before = files.state_of(source)
    keep(tmp_path, source, NAMES[:2], link)
    assert kept(tmp_path) == NAMES[:2] and (tmp_path / "out" / KEPT / "deep" / "b.png").read_text() == "deep/b.png"
    assert (tmp_path / "out" / KEPT / "a.png").is_symlink() == link
    keep(tmp_path, source, ["a.png", "c.png"], link)
    assert kept(tmp_path) == ["a.png", "c.png"] and not (tmp_path / "out" / KEPT / "deep").exists()
    keep(tmp_path, source, ["a.png"], not link)
    assert (tmp_path / "out" / KEPT / "a.png").is_symlink() != link
    keep(tmp_path, source, [])
    assert not (tmp_path / "out" / KEPT).exists() and files.state_of(source) == before


def test_a_killed_copying_is_gone_on_with(source: Path, tmp_path: Path) -> None:
    keep(tmp_path, source, ["c.png"])
    folder, done = claimed(tmp_path), []

    def killed(count: int) -> None:
        done.append(count)
        if len(done) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.keep(NAMES[:2], source, False, killed)
    (tmp_path / "out" / KEPT / f".b.png.x{files.PARTIAL}").write_text("half")
    keep(tmp_path, source, NAMES[:2])
    assert kept(tmp_path) == NAMES[:2] and [*files.read_json(tmp_path / "out" / RECORD)["kept"]] == NAMES[:2]


def test_images_that_are_gone_or_changed_since_are_no_trouble(source: Path, tmp_path: Path) -> None:
    keep(tmp_path, source, NAMES)
    (source / "a.png").unlink()
    (source / "c.png").write_text("drawn again")
    keep(tmp_path, source, NAMES[1:])
    assert kept(tmp_path) == sorted(NAMES[1:]) and (tmp_path / "out" / KEPT / "c.png").read_text() == "drawn again"


def test_what_is_not_its_own_is_refused_and_stays(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    claimed(tmp_path)  # an empty folder is free
    (out / "scores.csv").write_text("somebody's")
    with pytest.raises(ConfigurationError, match="something else is there"):
        claimed(tmp_path)
    (out / "scores.csv").unlink()
    keep(tmp_path, source, ["a.png"])
    with pytest.raises(ConfigurationError, match=r"scoring\.seed differ"):
        claimed(tmp_path, MADE | {"scoring": {"seed": 1, "scores": ["lid"]}})
    for name, words in (("mine.png", "mine"), ("a.png", "edited")):
        path = out / KEPT / name
        path.write_text(words)
        with pytest.raises(ConfigurationError, match=rf"{name} is not as genuq images left it"):
            claimed(tmp_path).check_kept()
        assert path.read_text() == words
        path.unlink()
    claimed(tmp_path).check_kept()
    files.write_json(out / RECORD, ["no record"])
    with pytest.raises(ArtefactError, match="no record"):
        claimed(tmp_path)


@pytest.mark.parametrize("out", ["images", "images/out", ".", "linked/out"])
def test_it_never_lies_in_the_images_folder_nor_that_in_it(source: Path, tmp_path: Path, out: str) -> None:
    os.symlink(source, tmp_path / "linked")
    with pytest.raises(ConfigurationError, match="never changed"):
        ReportFolder.claimed(tmp_path / out, source, MADE)


def test_what_differs_is_told_by_its_key() -> None:
    assert differing({"a": {"b": 1, "c": 2}, "d": 0}, {"a": {"b": 1, "c": 3}, "e": 0}) == ["a.c", "d", "e"]
    assert differing(MADE, MADE) == []
