"""A saved set: opened without reading a sample, checked file by file, and the same as the run that it was made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genuq import files
from genuq.analysis.evaluation_entries import read_evaluation
from genuq.data import glyphs
from genuq.errors import ArtefactError
from genuq.identity import identity_of
from genuq.leaderboard import saved as reading
from genuq.leaderboard.manifest import SET
from genuq.leaderboard.results import Condition
from genuq.leaderboard.saved import SavedSet
from genuq.pipeline.configured import open_model, sampler_inputs
from genuq.pipeline.stages.sample import read_samples
from genuq.posteriors.base import digest
from genuq.randomness import INITIAL, generator, key, normal
from genuq.scores import png_bytes
from support.saved_sets import RUN, SHARED, copied_set
from support.small_runs import run_of


def test_it_holds_the_runs_scores_and_the_oracles_truth(board_run: Path, board_set: Path) -> None:
    scored, samples = SavedSet.open(board_set).scored(), read_samples(board_run / "sample")
    truth = glyphs(size=1).oracle.truth(samples["image"])
    assert scored.condition == Condition("glyphs", "dpm_solver_pp_2m", 3)
    assert {name: found.tolist() for name, found in scored.faults.items()} == {
        name: found.tolist() for name, found in truth.faults.items()
    }
    assert scored.valid.tolist() == truth.valid.tolist() and scored.left_out is None
    assert scored.classes is not None and scored.classes.tolist() == samples["class"].tolist()
    shown = ((samples["image"] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    assert scored.complexity is not None and scored.complexity.tolist() == png_bytes(shown).tolist()
    columns, _ = files.read_tensors(board_run / "score" / "scores.safetensors")
    rows = {row.name: row for row in read_evaluation(board_run / "evaluate").scores}
    assert next(iter(scored.columns)) == "entropy" and scored.columns.keys() == rows.keys()
    for name, column in scored.columns.items():
        assert np.array_equal(column.values, columns[name].numpy()) and column.values.dtype == np.float64
        told = (rows[name].label, rows[name].kind, rows[name].evaluations_per_sample)
        assert (column.label, column.kind, column.evaluations) == told
    drawn = {"entropy", "trace", "path_disagreement", "renoised_disagreement"}
    assert {name for name, column in scored.columns.items() if column.needs_posterior} == drawn
    timed = {"entropy", "trace", "trajectory_variance", "jitter", *SHARED}
    assert {name for name, column in scored.columns.items() if column.seconds is not None} == timed
    assert scored.sampling_evaluations == 4.0  # two steps, guided


def test_clusters_are_the_noises_that_the_samples_came_from(board_set: Path) -> None:
    saved = SavedSet.open(board_set)
    clusters, model = saved.scored().clusters, saved.model(torch.device("cpu"))
    assert clusters.tolist() == [key(3, index, INITIAL) for index in range(20)]
    noise = saved.sampler.build(model).initial_noise(model, [4])
    assert torch.equal(noise, normal([generator(3, 4, INITIAL)], model.latent_shape))


def test_it_has_what_the_samples_were_made_with(board_run: Path, board_set: Path) -> None:
    run, saved, device = run_of(board_run, *RUN), SavedSet.open(board_set), torch.device("cpu")
    model, own = saved.model(device), open_model(run)
    assert digest(dict(model.network.named_parameters())) == digest(dict(own.network.named_parameters()))
    assert identity_of(saved.sampler) == identity_of(sampler_inputs(run))
    assert saved.posterior(model, "draws").n_seen == 2
    assert saved.manifest.model.training["configuration"]["trainer"]["steps"] == 2
    assert saved.weak(model) is None and saved.has_path and saved.are_images and len(saved) == 20
    path = saved.shard("path", range(8, 16))
    assert {name: tuple(tensor.shape) for name, tensor in path.items()} == {
        **{name: (8, 2, 1, 32, 32) for name in ("states", "asked", "null")},
        "times": (8, 2),
    }
    assert saved.truth.mask is not None and saved.truth.mask.shape == (20, 32, 32)
    assert saved.embeddings("draws").shape[:2] == (20, 2)


def test_opening_reads_no_file_of_samples_and_a_shard_no_other(
    board_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    sha256 = files.sha256
    monkeypatch.setattr(reading.files, "sha256", lambda path: read.append(Path(path).name) or sha256(path))
    monkeypatch.setattr(reading.files, "read_tensors", lambda path: pytest.fail(f"{path} was read"))
    saved = SavedSet.open(board_set)
    assert not read
    monkeypatch.undo()
    monkeypatch.setattr(reading.files, "sha256", lambda path: read.append(Path(path).name) or sha256(path))
    for _ in range(2):
        saved.shard("samples", range(8, 16))
    assert read == ["shard-0000008-0000016.safetensors"]  # looked at once


@pytest.mark.parametrize("name", ["samples/shard-0000008-0000016.safetensors", "network.safetensors"])
def test_a_file_that_is_missing_truncated_or_altered_is_named(name: str, board_set: Path, tmp_path: Path) -> None:
    folder = copied_set(board_set, tmp_path / "set")
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    SavedSet.open(folder)  # of its size: only reading it tells
    with pytest.raises(ArtefactError, match=f"{folder / name} was altered.*Copy {folder} again from where it came"):
        SavedSet.open(folder, thoroughly=True)
    with pytest.raises(ArtefactError, match=f"{folder / name} was altered"):
        SavedSet.open(folder).file(name)
    (folder / name).write_bytes(whole[:-1])
    with pytest.raises(ArtefactError, match=f"{folder / name} is truncated"):
        SavedSet.open(folder)
    (folder / name).unlink()
    with pytest.raises(ArtefactError, match=f"{folder / name} is missing"):
        SavedSet.open(folder)


def test_what_a_set_does_not_hold_is_named(board_set: Path) -> None:
    with pytest.raises(ArtefactError, match=f"{board_set} holds no weak.safetensors"):
        SavedSet.open(board_set).file("weak.safetensors")
    assert (board_set / SET).is_file()
