"""What a set says of itself is whole, names nothing outside of its folder, and has only genuq's own models built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from genuq import files
from genuq.errors import ArtefactError, ConfigurationError
from genuq.leaderboard.manifest import NEWER, SET, FileEntry, Manifest, require_own
from genuq.models.description import build


def test_it_is_read_as_it_was_written(board_set: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(board_set)
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest and manifest.sealed() == manifest
    assert manifest.ranges == [range(8), range(8, 16), range(16, 20)]


def test_one_that_was_saved_before_samplers_had_levels_of_noise_is_what_it_was(board_set: Path, tmp_path: Path) -> None:
    plain = files.read_json(board_set / SET)
    older = {key: value for key, value in plain["sampler"].items() if key not in NEWER}
    files.write_json(tmp_path / SET, plain | {"sampler": older})
    assert older != plain["sampler"] and Manifest.read(tmp_path) == Manifest.read(board_set)
    files.write_json(tmp_path / SET, plain | {"sampler": older | {"rho": 3.0}})
    with pytest.raises(ArtefactError, match="was altered"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("format", "genuq-saved-set-0", "has format 'genuq-saved-set-0', not 'genuq-saved-set-1'. Write the set again"),
        ("neighbours", 7, "was altered. Copy .* again from where it came"),
        ("neighbours", "seven", "'neighbours' is a str, not a int"),
    ],
)
def test_one_that_was_altered_is_named(key: str, value: Any, words: str, board_set: Path, tmp_path: Path) -> None:
    files.write_json(tmp_path / SET, files.read_json(board_set / SET) | {key: value})
    with pytest.raises(ArtefactError, match=f"{tmp_path / SET}.*{words}"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("name", ["/etc/hostname", "../other/scores.safetensors", "samples/../../other"])
def test_no_file_of_a_set_lies_elsewhere(name: str, board_set: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(board_set)
    replace(manifest, files={**manifest.files, name: FileEntry(1, "0" * 64)}).sealed().write(tmp_path)
    with pytest.raises(ArtefactError, match="was altered"):
        Manifest.read(tmp_path)


def test_a_folder_without_one_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=f"{tmp_path} is no saved set: it has no set.json"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize(
    "description",
    [
        {"part": "my_lab.models.mine", "options": {}},
        {"part": "nobodys", "options": {}},
        {"autoencoder": {"name": "diffusers", "path": "somebody/something"}},
    ],
)
def test_only_genuqs_own_models_are_built(description: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="here: the model is not genuq's own"):
        require_own(description, "here")


def test_the_exact_score_of_a_mixture_is_one_of_them() -> None:
    description = {"part": "exact_mixture", "options": {"modes": 4}}
    require_own(description, "here")
    require_own({"autoencoder": None}, "here")
    assert build(description).shape == (2,)
