"""Saving the set of a run: links into one folder, whole or not at all, and of a run whose truth is known."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from genuq import files
from genuq.analysis.evaluation_entries import SampleTable
from genuq.errors import ArtefactError, ConfigurationError
from genuq.leaderboard import writing
from genuq.leaderboard.manifest import SET, Manifest
from genuq.leaderboard.results import Condition
from genuq.leaderboard.saved import SavedSet
from genuq.leaderboard.writing import UNFINISHED, finished_run, write_set
from support.small_runs import copied

SHARD = "samples/shard-0000008-0000016.safetensors"


def inode(path: Path) -> int:
    return path.stat().st_ino


def test_files_are_links_into_the_store_and_a_second_writing_leaves_the_set_as_it_is(
    board_run: Path, board_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inode(board_set / SHARD) == inode(board_run / "sample" / Path(SHARD).name)
    assert inode(board_set / "network.safetensors") == inode(board_run / "train" / "model.safetensors")
    listed = {str(path.relative_to(board_set)) for path in board_set.rglob("*") if path.is_file()}
    manifest = Manifest.read(board_set)
    assert {name for name in listed if not name.startswith("scored/")} == {*manifest.files, SET}
    monkeypatch.setattr(writing, "truth_of", lambda run: pytest.fail("the truth was asked for again"))
    assert write_set(board_run, board_set) == manifest


def test_a_run_that_was_moved_gives_the_same_set_also_by_copies(
    board_run: Path, board_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: Any) -> None:
        raise OSError("no links on this disk")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "link", refuse)
    moved = copied(board_run, tmp_path / "moved")
    saved = SavedSet.write(moved, "set")
    assert saved.manifest == Manifest.read(board_set)
    assert inode(saved.folder / SHARD) != inode(moved / "sample" / Path(SHARD).name)
    SavedSet.open("set", thoroughly=True)


def test_a_killed_writing_goes_on_where_it_stopped(
    board_run: Path, board_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(run: Any) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "set"
    with monkeypatch.context() as patched:
        patched.setattr(writing, "truth_of", killed)
        with pytest.raises(KeyboardInterrupt):
            write_set(board_run, out)
    with pytest.raises(ArtefactError, match="is no saved set"):
        SavedSet.open(out)
    monkeypatch.setattr(writing, "link", lambda source, target: pytest.fail(f"{target} was linked again"))
    assert write_set(board_run, out) == Manifest.read(board_set) and not (out / UNFINISHED).exists()


def test_no_other_folder_is_written_over(board_run: Path, board_set: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=f"{board_set} holds the set of another run .glyphs/dpm.*Give another"):
        write_set(board_run, board_set, Condition("glyphs", "euler", 0))
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ArtefactError, match=f"{tmp_path} is not empty, and no saved set"):
        write_set(board_run, tmp_path)
    files.write_json(tmp_path / UNFINISHED, {"sample": "of another run"})
    with pytest.raises(ArtefactError, match=f"{tmp_path} holds the unfinished set of another run"):
        write_set(board_run, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", UNFINISHED]


def test_without_an_oracle_the_judge_says_which_samples_are_bad(
    board_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "test_set", lambda run: SimpleNamespace(oracle=None))  # of data from the world
    verdicts = SimpleNamespace(samples=SampleTable(["bad"], [[1.0], [0.0]] * 10))
    monkeypatch.setattr(writing, "read_evaluation", lambda folder: verdicts)
    saved = SavedSet.write(board_run, tmp_path / "set")
    assert saved.scored().faults["judged_bad"].tolist() == [True, False] * 10
    assert saved.scored().valid.tolist() == [False, True] * 10
    assert list(saved.scored().faults) == ["judged_bad"] and saved.truth.parts.shape == (20, 0)


def test_only_finished_runs_whose_truth_is_known_give_a_set(
    board_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(writing, "test_set", lambda run: SimpleNamespace(oracle=None))  # of data from the world
        patched.setattr(writing, "BAD", "no_such_column")  # under a judge who knows no classes
        with pytest.raises(ConfigurationError, match=r"data\.name = 'glyphs' has no oracle.*data=glyphs, shapes"):
            write_set(board_run, tmp_path / "set")
    with pytest.raises(ConfigurationError, match=f"{tmp_path} is no folder of a run that was evaluated"):
        write_set(tmp_path, tmp_path / "set")
    changed = copied(board_run, tmp_path / "changed")
    text = (changed / "config.yaml").read_text()
    (changed / "config.yaml").write_text(text.replace("guidance_scale: 2.0", "guidance_scale: 3.0"))
    with pytest.raises(ArtefactError, match=r"stage 'sample' of .* was made under another configuration"):
        finished_run(changed)
    (changed / "config.yaml").write_text("[not: closed")
    with pytest.raises(ConfigurationError, match="is no YAML"):
        finished_run(changed)
    assert not (tmp_path / "set").exists()


def test_the_exact_score_of_a_mixture_is_saved_without_weights(exact_run: Path, tmp_path: Path) -> None:
    saved = SavedSet.write(exact_run, tmp_path / "set")
    assert "network.safetensors" not in saved.manifest.files and not saved.manifest.model.training
    assert not saved.has_path and not saved.are_images and saved.scored().complexity is None
