"""Floating-point operations: those counted without numbers are those of the real network, and a layer's by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from genuq.models import GenerativeModel
from genuq.planning.operations import Operations, counted, prediction, state, without_numbers
from genuq.planning.planned import Memory, PlannedRun
from genuq.planning.work import Piece
from genuq.pretrained.outline import from_configuration
from support.pretrained_cases import opened
from support.small_pipelines import options_of, saved
from support.small_runs import POINTS, composed

LINKED = ("unet2d", "dit", "pixart", "stable_diffusion", "stable_diffusion_xl", "stable_diffusion_3", "flux", "sana")


class Linear(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = torch.nn.Linear(2, 5), torch.nn.Linear(5, 2)

    def forward(self, x: torch.Tensor, t_B: torch.Tensor, y_B: torch.Tensor | None) -> torch.Tensor:
        return self.head(self.body(x))


def test_two_linear_layers_by_hand() -> None:
    model = GenerativeModel(Linear(), (2,))
    bare = without_numbers(model)
    assert bare.device.type == "meta" and model.device.type == "cpu"
    assert counted(lambda: prediction(bare, state(bare))) == 2 * (2 * 5 + 5 * 2)


@pytest.mark.parametrize("family", LINKED)
def test_without_numbers_as_many_as_with_them(family: str, tmp_path: Path) -> None:
    real, bare = opened(family)[0], from_configuration(saved(family, tmp_path), **options_of(family))
    classes = torch.zeros(1, dtype=torch.long) if real.num_classes else None

    def evaluate() -> None:
        real.predicted(torch.randn(1, *real.latent_shape), torch.full((1,), 0.5), classes)
        real.autoencoder.decode(torch.randn(1, *real.latent_shape))

    def evaluate_bare() -> None:
        prediction(bare, state(bare))
        bare.autoencoder.decode(state(bare))

    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # the fused attention of a CPU is unknown to the counter
        assert counted(evaluate_bare) == counted(evaluate) > 0


def planned(folder: Path, *overrides: str) -> PlannedRun:
    config = composed(*POINTS, f"store={folder}/store", "network.width=16", *overrides)
    return PlannedRun(config, folder, "genuq", memory=Memory(outlines=True))


def test_pieces_are_in_proportion_and_a_training_goes_back_over_all_weights(tmp_path: Path) -> None:
    run, operations = planned(tmp_path), Operations()
    one = operations.of(run, Piece("forward", 1.0))
    assert one and operations.of(run, Piece("forward", 7.0, 32)) == 7 * one
    assert 0 < (operations.of(run, Piece("backward", 1.0)) or 0) < one  # nothing goes back to the time
    step = operations.of(run, Piece("step", 3.0, 4))
    assert step and 3 * 4 * 2.4 * one < step <= 3 * 4 * 3 * one  # the first layer's input wants no gradient
    assert operations.of(run, Piece("encode", 5.0)) == operations.of(run, Piece("judge", 5.0)) == 0


def test_a_fit_takes_its_evaluations(tmp_path: Path) -> None:
    run, operations = planned(tmp_path, "posterior=exact_laplace"), Operations()
    one = operations.of(run, Piece("forward", 1.0))
    images = run.config.posterior.images + run.config.posterior.held_out
    fit = operations.of(run, Piece("fit", 1.0, 50, "draws"))
    assert one and fit and fit >= images * one


def test_what_asks_for_numbers_is_told_and_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, operations = planned(tmp_path), Operations()

    def asking(model: GenerativeModel, x: torch.Tensor) -> torch.Tensor:
        return x * float(x.sum())

    monkeypatch.setattr("genuq.planning.operations.prediction", asking)
    assert operations.of(run, Piece("forward", 1.0)) is None
    assert "operations of forward" in operations.failures
