"""The study of posteriors of one checkpoint: what its script compares with what."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

FOLDER = Path(__file__).parents[2] / "experiments" / "starved"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("one_checkpoint")
    finally:
        sys.path.remove(str(FOLDER))
        for name in ("one_checkpoint", "measure"):
            sys.modules.pop(name, None)


def made(script: ModuleType, shifts: dict[str, float], seed: int) -> dict[str, Tensor]:
    """Scores of 180 samples in which those of bags are higher by the shift of the posterior."""
    classes = torch.tensor(script.ASKED * 10)
    noise = torch.randn(len(classes), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    columns = {
        f"{name}/{score}": noise + shifts.get(name, 0.0) * (classes == 8)
        for name in script.POSTERIORS
        for score in script.SCORES
    }
    return columns | {"class": classes}


def test_a_posterior_is_compared_with_itself_where_the_class_was_seen_and_with_noise_of_its_size(
    script: ModuleType,
) -> None:
    plan = script.PLANS["all"]
    shifts = {"starved": {"kfac": 1.0, "noise_like_kfac": 1.0, "finetuned": 0.5}, "seen": {"finetuned": 0.5}}
    found = {kind: [made(script, shifts.get(kind, {}), plan.first_seed + k) for k in range(3)] for kind in plan.kinds}
    table = "\n".join(script.table(plan, found))
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines() if row.startswith("| ")]
    moved = {(row[0], row[2]): float(row[3].split()[0]) for row in cells if len(row) == 5 and row[3][:1] in "+-"}
    assert len(moved) == 5
    assert moved[script.POSTERIORS["kfac"], "networks that saw the class"] > 0.2
    assert moved[script.POSTERIORS["kfac"], "isotropic noise of its size"] == 0
    assert moved[script.POSTERIORS["finetuned"], "networks that saw the class"] == 0
    assert moved[script.POSTERIORS["finetuned"], "isotropic noise of its size"] > 0.1
    assert moved[script.POSTERIORS["exact_laplace"], "networks that saw the class"] == 0


@pytest.mark.parametrize(("plan", "comparisons"), [("all", 10), ("kfac", 4)])
def test_as_many_comparisons_as_were_declared(script: ModuleType, plan: str, comparisons: int) -> None:
    asked = script.PLANS[plan]
    assert len(asked.above_seen) + len(asked.above_noise) == comparisons
