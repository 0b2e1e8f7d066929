"""How long encoders, judges and the evaluation take on this machine, measured for `planning.calibration`."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from genuq.analysis.retention import descending_fractions
from genuq.analysis.subsets import SubsetJudge
from genuq.extractors.judge import Judge
from genuq.pipeline.configured import is_image, training_set
from genuq.pipeline.configured_judging import build_likelihood, open_judge, prompt_inputs, reference_count
from genuq.planning import footprint
from genuq.planning.measuring import bearable, steady
from genuq.planning.planned import PlannedRun
from genuq.planning.work import Piece

FID = "fid"
MOST_ROWS = 1024  # samples of a measurement
MOST_DIRECTIONS = 1024  # of a matrix whose eigenvalues are measured
FEW_FEATURES = 64  # neighbours once found, no judgement asks how many features there were


def encode_seconds(calibration: object, run: PlannedRun, piece: Piece) -> float:
    if not is_image(run):
        return 0.0
    likelihood, shape = build_likelihood(run), training_set(run).shape
    return bearable(
        lambda rows: likelihood.embed(torch.rand(rows, *shape), batch_size=rows, device=run.device), piece.batch
    )


def judging_seconds(calibration: object, run: PlannedRun, piece: Piece) -> float:
    if not is_image(run):
        return 0.0
    judge, shape = judge_of(run), training_set(run).shape
    images = torch.zeros(piece.batch, *shape, dtype=torch.uint8)
    return bearable(lambda rows: judge(images[:rows], batch_size=rows), piece.batch)


def clip_seconds(calibration: object, run: PlannedRun, piece: Piece) -> float:
    """Of metric.prompt_model."""
    prompts, images = prompt_inputs(run), torch.zeros(piece.batch, *training_set(run).shape, dtype=torch.uint8)
    assert prompts is not None
    return bearable(lambda rows: prompts.of_images(images[:rows]), piece.batch)


def judge_of(run: PlannedRun) -> Callable[..., Tensor]:
    """How the judge embeds; one that is still to be trained as the untrained one does."""
    if run.config.metric.extractor == "classifier" and "judge" in run.config.stages:
        network = footprint.classifier(run).eval()
        return torch.no_grad()(lambda images, batch_size: network.features(2 * images / 255 - 1))
    judge: Judge = open_judge(run)
    return judge.embed


def test_seconds(calibration: object, run: PlannedRun, piece: Piece) -> float:
    network, shape = footprint.classifier(run).to(run.device).eval(), training_set(run).shape
    return bearable(torch.no_grad()(lambda rows: network(torch.zeros(rows, *shape, device=run.device))), piece.batch)


def subset_seconds(calibration: object, run: PlannedRun, piece: Piece) -> float:
    """One judgement of a part of the samples: its neighbours, and its FID where curves have it."""
    curves = run.config.metric.curves
    others = [name for name in curves if name != FID]
    return (neighbour_seconds(run, others) if others else 0.0) + (frechet_seconds(run) if FID in curves else 0.0)


def neighbour_seconds(run: PlannedRun, metrics: list[str]) -> float:
    """In proportion to the samples, beyond those that are measured."""
    rows = min(run.config.sampler.samples, MOST_ROWS)
    judge = subset_judge(run, metrics)
    chosen = torch.randperm(rows)[: max(rows // 3, run.config.metric.k + 2)].numpy()
    return steady(lambda: judge(chosen)) * run.config.sampler.samples / rows


def frechet_seconds(run: PlannedRun) -> float:
    """The eigenvalues of one matrix, and its share of a product that all cuts of a curve have in common."""
    samples, dimension = run.config.sampler.samples, footprint.judge_dimension(run)
    directions, rows = min(max(samples // 3, 1), dimension), min(samples, MOST_ROWS)
    measured = min(directions, MOST_DIRECTIONS)
    features_ND = np.random.default_rng(0).standard_normal((rows, dimension))
    square = features_ND[:, :measured].T @ features_ND[:, :measured]
    eigenvalues = steady(lambda: np.linalg.eigvalsh(square)) * (directions / measured) ** 3
    product = steady(lambda: features_ND.T @ features_ND) * samples / rows
    return eigenvalues + product / len(descending_fractions(run.config.metric.fractions))


def subset_judge(run: PlannedRun, metrics: list[str]) -> SubsetJudge:
    rows, dimension = min(run.config.sampler.samples, MOST_ROWS), min(footprint.judge_dimension(run), FEW_FEATURES)
    real = torch.randn(min(reference_count(run), 5000), dimension)
    return SubsetJudge(torch.randn(rows, dimension), real, run.config.metric.k, metrics=metrics)


def subset_preparation(calibration: object, run: PlannedRun, piece: Piece) -> float:
    started = time.perf_counter()
    subset_judge(run, list(run.config.metric.curves))
    measured = min(run.config.sampler.samples, MOST_ROWS)
    return (time.perf_counter() - started) * (run.config.sampler.samples / measured) ** 2
