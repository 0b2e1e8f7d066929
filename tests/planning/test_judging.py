"""What an evaluation is planned to take: measured at few samples, for many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from genuq.planning import footprint, judging
from genuq.planning.planned import PlannedRun
from support.small_runs import POINTS, run_of


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the matrices whose eigenvalues are asked for; whatever is measured takes a second."""
    shapes: list[tuple[int, ...]] = []
    real = np.linalg.eigvalsh
    monkeypatch.setattr(np.linalg, "eigvalsh", lambda matrix: shapes.append(matrix.shape) or real(matrix))

    def second(work: Callable[[], object]) -> float:
        work()
        return 1.0

    monkeypatch.setattr(judging, "steady", second)
    return shapes


def planned(folder: Path, samples: int, dimension: int, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> PlannedRun:
    monkeypatch.setattr(footprint, "judge_dimension", lambda run: dimension)
    run = run_of(folder, *POINTS, f"sampler.samples={samples}", *overrides)
    return PlannedRun(run.config, run.folder, run.command)


def test_eigenvalues_grow_with_the_cube_of_the_features_and_products_are_shared_by_the_cuts(
    asked: list[tuple[int, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planned(tmp_path, 10240, 2048, monkeypatch, "metric.fractions=[1.0,0.5,0.25,0.1]")
    assert judging.frechet_seconds(run) == pytest.approx(2**3 + 10 / 4) and asked == [(1024, 1024)]
    few = planned(tmp_path, 96, 2048, monkeypatch, "metric.fractions=[1.0,0.5]")
    assert judging.frechet_seconds(few) == pytest.approx(1 + 1 / 2) and asked[1:] == [(32, 32)]


def test_only_what_curves_show_is_measured(
    asked: list[tuple[int, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piece = judging.Piece("subset", 1.0)
    alone = planned(tmp_path, 2048, 16, monkeypatch, "metric.curves=[precision,recall]")
    assert judging.subset_seconds(None, alone, piece) == pytest.approx(2.0) and not asked
    fid = planned(tmp_path, 2048, 16, monkeypatch, "metric.curves=[fid]")
    assert judging.subset_seconds(None, fid, piece) == judging.frechet_seconds(fid)


def test_a_judge_of_few_samples_is_enough_to_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = judging.subset_judge(planned(tmp_path, 50_000, 2048, monkeypatch), ["precision", "recall"])
    assert judge.count == 1024 and set(judge.metrics) == {"precision", "recall"}
    assert torch.isfinite(torch.from_numpy(judge(np.arange(300)))).all()
