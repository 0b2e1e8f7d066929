"""Text encoders and CLIP in plans: how many texts, and what one takes, against the real encoders."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from genuq.planning.costs import work_of
from genuq.planning.operations import Operations, counted
from genuq.planning.plan import needed
from genuq.planning.planned import Memory, PlannedRun
from genuq.planning.texts import text_row
from genuq.planning.work import Piece
from genuq.pretrained.outline import text_encoders
from support.pretrained_cases import opened
from support.small_pipelines import saved, saved_clip
from support.small_runs import COMMON, EVALUATION, composed

ASKED = [*COMMON, *EVALUATION, "model=diffusers", "data=image_folder", "data.image_size=16", "likelihood=pixel"]
ASKED += ["posterior.images=16", "posterior.held_out=8", "posterior.draws=2", "sampler.steps=2", "sampler.samples=12"]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved("stable_diffusion_3", tmp_path_factory.mktemp("pipeline"))


def planned(folder: Path, pipeline: Path, image_root: Path, *more: str) -> PlannedRun:
    places = [f"model.pretrained={pipeline}", f"data.root={image_root}", f"store={folder}/store"]
    run = PlannedRun(composed(*ASKED, *places, *more), folder, "genuq", memory=Memory(outlines=True))
    assert list(needed(run, set())), "which says where its artefacts will lie"
    return run


def amounts(run: PlannedRun, artefact: str) -> dict[str, float]:
    return {piece.kind: piece.amount for piece in work_of(run, artefact).pieces}


def test_a_text_takes_what_the_real_encoders_take(pipeline: Path) -> None:
    pipe, bare = opened("stable_diffusion_3")[1], text_encoders(pipeline, 7)
    real = [pipe.text_encoder, pipe.text_encoder_2, pipe.text_encoder_3]
    assert [encoder.tokens for encoder in bare] == [12, 12, 7]
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        for network, (outlined, count) in zip(real, bare, strict=True):
            tokens = torch.zeros(1, count, dtype=torch.long)
            found = [counted(partial(each, input_ids=tokens.to(each.device))) for each in (network, outlined)]
            assert found[0] == found[1] > 0


def test_captions_belong_to_the_fit_and_prompts_to_the_samples(
    pipeline: Path, image_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planned(tmp_path, pipeline, image_root, "model.prompts=[a cat,a dog,a hill]")
    assert amounts(run, "posterior.draws")["texts"] == 2  # captions, the names of two classes
    assert amounts(run, "sample")["texts"] == 3 + 1  # with the null row
    found = Operations().of(run, Piece("texts", 4.0))
    assert found == 4 * text_row(run, counted) > 0
    monkeypatch.setattr("genuq.planning.texts.HELD", 0)
    assert amounts(run, "posterior.draws")["texts"] > 24 and amounts(run, "sample")["texts"] == 12 + 1


def test_labels_that_number_the_prompts_are_counted_once(pipeline: Path, image_root: Path, tmp_path: Path) -> None:
    run = planned(tmp_path, pipeline, image_root)
    assert "texts" not in amounts(run, "posterior.draws") and amounts(run, "sample")["texts"] == 2 + 1


def test_clip_looks_at_every_sample_and_at_what_an_application_makes(
    pipeline: Path, image_root: Path, tmp_path: Path
) -> None:
    clip = f"metric.prompt_model={saved_clip(tmp_path / 'clip')}"
    more = ["application=augment", "application.samples=4", "application.candidates=3", "stages=[embed,apply]"]
    run = planned(tmp_path, pipeline, image_root, clip, *more)
    assert amounts(run, "embed")["clip"] == 12
    made = 1 + 2 * 3  # the sample, and candidates of both
    assert amounts(run, "apply")["clip"] == 4 * made and amounts(run, "apply")["decode"] == 4 * (made + 1)
    assert (Operations().of(run, Piece("clip", 1.0)) or 0) > 0
