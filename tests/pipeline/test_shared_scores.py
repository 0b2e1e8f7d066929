"""Scores of the path and of the probe in a run: what they ask for is declared, and what cannot be is said before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq import files
from genuq.errors import CheckpointError, ConfigurationError, NonFiniteError
from genuq.pipeline import preflight
from genuq.pipeline.configured import untrained_model
from genuq.pipeline.run import Run
from genuq.pipeline.shared_scores import needs_of, resource_inputs, weak_weights
from genuq.scores import SCORES
from support.small_runs import IMAGES, POINTS, composed


def images(image_root: Path, folder: Path, *overrides: str) -> Run:
    return Run(composed(*IMAGES, f"data.root={image_root}", f"store={folder}/store", *overrides), folder, "genuq")


def test_only_what_a_score_asks_for_is_declared(image_root: Path, tmp_path: Path) -> None:
    plain = resource_inputs(images(image_root, tmp_path, "score.also=[lid,guidance_gap]"), "probe")
    assert (plain.draws, plain.isotropic, plain.encoder, plain.weak) == (None, False, None, None)
    much = resource_inputs(images(image_root, tmp_path, "score.also=[renoised_isotropic,lid]"), "probe")
    assert (much.draws, much.isotropic, much.encoder) == (2, True, None)
    seen = resource_inputs(images(image_root, tmp_path, "score.also=[path_disagreement_semantic]"), "path")
    assert seen.draws == 2 and seen.encoder is not None
    assert needs_of([SCORES["lid"]]) == frozenset()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["score=lid", "score.lid_times=[1.5]"],
            r"score\.lid_times = \[1\.5\]; of each entry, such as 1\.5: it must lie in \(0, 1\)",
        ),
        (["score=lid", "score.lid_times=[]"], r"score\.lid_times = \[\]"),
        (["score=score_norm", "score.probe_noisings=3"], r"score\.probe_noisings = 3; a multiple of 2 is needed"),
        (["score=path_disagreement", "score.path_points=[2]"], r"score\.path_points = \[2\.0\]; of each entry"),
        (["score=path_disagreement", "score.members=3"], r"score\.members = 3; posterior\.draws = 2 is the most"),
        (["score.also=[renoised_isotropic]", "score.members=0"], r"score\.members = 0"),
        (
            ["score.also=[renoised_epistemic]", "score.members=1"],
            r"'renoised_epistemic'.*needs at least 2.*members = 1",
        ),
        (["score.also=[renoised_epistemic]", "score.nested_pairs=1"], r"score\.nested_pairs = 1"),
        (
            ["posterior=map", "score=lid", "score.also=[path_disagreement]"],
            "'path_disagreement' scores how draws differ",
        ),
        (
            ["posterior=map", "score=lid", "score.also=[]", "score.controls=[renoised_isotropic]"],
            "'renoised_isotropic' scores how draws",
        ),
        (["score=weak_model_gap"], r"score 'weak_model_gap' .* set score\.weak_checkpoint"),
        (["score=weak_model_gap", "score.weak_checkpoint=none.safetensors"], "none.safetensors does not exist"),
    ],
)
def test_what_cannot_work_is_said_before_the_training(
    overrides: list[str], message: str, image_root: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        preflight.check(images(image_root, tmp_path, *overrides))


@pytest.mark.parametrize("name", ["guidance_gap", "class_margin", "null_gap", "class_prior"])
def test_scores_of_classes_need_a_model_that_knows_some(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=rf"score\.also: '{name}' needs a model that knows classes"):
        preflight.check(Run(composed(*POINTS, f"score.also=[{name}]"), tmp_path, "genuq"))


def test_weak_weights_are_those_of_the_same_network(image_root: Path, tmp_path: Path) -> None:
    model, path = untrained_model(images(image_root, tmp_path)), tmp_path / "early.safetensors"
    weights = {name: value.detach().clone() + 1 for name, value in model.network.named_parameters()}
    files.write_tensors(path, weights)
    found = weak_weights(path, model)
    assert found.keys() == weights.keys() and all(torch.equal(found[name], weights[name]) for name in weights)
    name = next(iter(weights))
    files.write_tensors(path, {key: value for key, value in weights.items() if key != name})
    with pytest.raises(CheckpointError, match=rf"score\.weak_checkpoint: .* no weight '{name}'"):
        weak_weights(path, model)
    files.write_tensors(path, weights | {name: torch.full_like(weights[name], float("nan"))})
    with pytest.raises(NonFiniteError, match=r"score\.weak_checkpoint"):
        weak_weights(path, model)
