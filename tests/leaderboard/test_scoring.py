"""Scores of a saved set are those that the run computed, whoever computes them, and are computed once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genuq.errors import ArtefactError, ConfigurationError, StorageError
from genuq.leaderboard import scoring
from genuq.leaderboard.saved import SavedSet
from genuq.leaderboard.scoring import score_part, score_saved, why_not
from genuq.scores import SCORES
from support.programs import program
from support.saved_sets import SHARED, copied_set

OPTIONS: dict[str, dict[str, Any]] = {name: {"noisings": 2} for name in ("lid", "renoised_disagreement")}
MINE = '''
import torch
from genuq.scores import Probe, SamplerPath

def darkness(images):
    """How dark it is."""
    return 255 - images.double().flatten(1).mean(1)

def unrest(probe: Probe, time: float = 0.3):
    """How far the draws are apart, without a word of what it needs."""
    (found,) = probe.versions(probe.at([time], 2))
    return found.std(0).flatten(2).mean((0, 2))

def length(path: SamplerPath):
    """How far the first step predicts from the last one."""
    return (path.x0(0) - path.x0(path.steps - 1)).flatten(2).norm(dim=(0, 2))
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module of the user's own, in a file of its own."""
    name = f"novel_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for score in ("darkness", "unrest", "length"):
        SCORES.remove(score)


@pytest.mark.parametrize("name", ["entropy", "trace", "complexity", "random", "class_prior", *SHARED])
def test_a_score_of_the_set_is_the_column_of_the_run(name: str, board_set: Path) -> None:
    saved, part = SavedSet.open(board_set), score_part(name)
    found, column = score_saved(saved, part, OPTIONS.get(name)), saved.scored().columns[name]
    np.testing.assert_allclose(found.values, column.values, rtol=1e-12)
    assert (found.label, found.kind, found.evaluations) == (column.label, column.kind, column.evaluations)
    assert found.needs_posterior == column.needs_posterior and found.seconds is not None and found.seconds > 0
    assert found.values.dtype == np.float64


def test_options_change_the_column_and_its_cost(board_set: Path) -> None:
    saved = SavedSet.open(board_set)
    few, many = (score_saved(saved, score_part("lid"), {"noisings": noisings}) for noisings in (2, 6))
    assert (few.evaluations, many.evaluations) == (2, 6) and not np.array_equal(few.values, many.values)
    with pytest.raises(ConfigurationError, match=r"score 'lid' has no option 'noising'\. Did you mean 'noisings'"):
        score_saved(saved, score_part("lid"), {"noising": 2})
    with pytest.raises(ConfigurationError, match=r"score 'lid': times = \[1\.5\]"):
        score_saved(saved, score_part("lid"), {"times": [1.5]})
    with pytest.raises(ConfigurationError, match=r"score\.members = 3; posterior\.draws = 2 is the most"):
        score_saved(saved, score_part("path_disagreement"), {"members": 3})


def test_what_was_computed_once_is_found_again_and_a_killed_scoring_goes_on(
    board_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, part, batches = SavedSet.open(board_set), score_part("lid"), []
    batch = scoring.Work.batch

    def counted(work: scoring.Work, indices: list[int], advance: Any) -> dict[str, torch.Tensor]:
        batches.append(len(indices))
        if len(batches) == 2:
            raise KeyboardInterrupt
        return batch(work, indices, advance)

    monkeypatch.setattr(scoring.Work, "batch", counted)
    with pytest.raises(KeyboardInterrupt):
        score_saved(saved, part, {"noisings": 2}, cache=tmp_path)
    found = score_saved(saved, part, {"noisings": 2}, cache=tmp_path)
    assert batches == [8, 8, 8, 4]  # the first file was there already
    again = score_saved(saved, part, {"noisings": 2}, cache=tmp_path)
    assert len(batches) == 4 and np.array_equal(found.values, again.values) and found.seconds == again.seconds
    np.testing.assert_allclose(found.values, saved.scored().columns["lid"].values, rtol=1e-12)


def test_functions_of_ones_own_say_by_their_arguments_what_they_are_of(
    mine: str, board_set: Path, tmp_path: Path
) -> None:
    saved = SavedSet.open(board_set)
    darkness = score_saved(saved, score_part(f"{mine}:darkness"), cache=tmp_path)
    shown = ((saved.column("samples", "image") + 1) * 127.5).round().double()
    np.testing.assert_allclose(darkness.values, 255 - shown.flatten(1).mean(1))
    assert (darkness.evaluations, darkness.kind, darkness.label) == (0, "score", "Darkness")
    assert not darkness.needs_posterior
    unrest = score_saved(saved, score_part(f"{mine}.unrest"), {"time": 0.5}, cache=tmp_path)
    assert unrest.evaluations == 2 * 3 and unrest.needs_posterior and (unrest.values > 0).all()
    length = score_saved(saved, score_part(f"{mine}:length"), cache=tmp_path)
    path = saved.shard("path", range(8))
    states, answers, t = path["states"].double(), path["asked"].double(), path["times"][0]
    first, last = (states[:, step] - t[step] * answers[:, step] for step in (0, 1))  # of a flow
    np.testing.assert_allclose(length.values[:8], (first - last).flatten(1).norm(dim=1))
    assert length.evaluations == 0


def test_another_process_finds_the_column_and_computes_a_function_in_its_folder(
    mine: str, board_set: Path, tmp_path: Path
) -> None:
    folder = copied_set(board_set, tmp_path / "set")
    here = score_saved(SavedSet.open(folder), score_part("lid"))
    code = f"""
import json
from genuq.leaderboard.saved import SavedSet
from genuq.leaderboard.scoring import score_part, score_saved
columns = [score_saved(SavedSet.open("set"), score_part(name)) for name in ("lid", "{mine}:unrest")]
print(json.dumps([[column.seconds, column.values.tolist()] for column in columns]))
"""
    done = program(code, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lid, unrest = json.loads(done.stdout.splitlines()[-1])
    assert lid == [here.seconds, here.values.tolist()]
    found = score_saved(SavedSet.open(folder), score_part(f"{mine}:unrest"))
    assert unrest == [found.seconds, found.values.tolist()]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("jitter", r"starts the sampler anew.*score\.also=\[jitter\]"),
        ("isotropic", "makes weight draws of its own"),
        ("direct_noise", "makes draws of its own"),
        ("trajectory_variance", "watches the sampler"),
        ("realism", "sees the real images"),
        ("pixel_variance", "is of variances of the pixels"),
        ("weak_model_gap", r"needs an earlier checkpoint: set score\.weak_checkpoint"),
    ],
)
def test_what_no_saved_set_can_give_is_refused_with_the_reason(name: str, words: str, board_set: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"score '{name}' {words}"):
        score_saved(SavedSet.open(board_set), score_part(name))


def test_a_set_of_points_of_the_exact_score_has_scores_of_the_probe_and_of_draws(
    exact_run: Path, tmp_path: Path
) -> None:
    saved = SavedSet.write(exact_run, tmp_path / "set")
    entropy = score_saved(saved, score_part("entropy"))
    np.testing.assert_allclose(entropy.values, saved.scored().columns["entropy"].values, rtol=1e-12)
    assert score_saved(saved, score_part("lid")).evaluations == 4
    reasons = {name: why_not(saved, score_part(name)) for name in ("complexity", "path_disagreement", "class_margin")}
    for name, words in (("complexity", "images"), ("path_disagreement", "keep_path=true"), ("class_margin", "classes")):
        assert words in str(reasons[name])


def test_a_broken_file_is_named_and_so_is_a_folder_that_cannot_be_written(board_set: Path, tmp_path: Path) -> None:
    folder, name = copied_set(board_set, tmp_path / "set"), "samples/shard-0000008-0000016.safetensors"
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ArtefactError, match=f"{folder / name} was altered"):
        score_saved(SavedSet.open(folder), score_part("complexity"))
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=f"{tmp_path / 'file'}, where columns are kept, cannot be written.*cache="):
        score_saved(SavedSet.open(board_set), score_part("lid"), cache=tmp_path / "file")


def test_a_name_that_is_none_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"--score: 'nul_gap' does not exist\. Did you mean 'null_gap'"):
        score_part("nul_gap")
    with pytest.raises(ConfigurationError, match=r"there is no module|cannot be imported"):
        score_part("nowhere_at_all:novelty")
    with pytest.raises(ConfigurationError, match="which no configuration may use"):
        score_part("os:system")
