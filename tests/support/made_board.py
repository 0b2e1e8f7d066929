"""Scored sets with planted scores, and boards for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from genuq.leaderboard.board import Board, read_board
from genuq.leaderboard.results import Condition, ScoreColumn, ScoredSet

BOARD: dict[str, Any] = {
    "title": "Made",
    "question": "Does it?",
    "samples": 100,
    "bootstrap": 200,
    "samplers": {"ode": {"label": "Euler", "settings": ["sampler=euler"]}},
    "data": {"glyphs": {"label": "Glyphs", "settings": ["experiment=glyphs"], "seeds": {0: ["seed=0"], 1: ["seed=7"]}}},
    "scores": ["entropy", "renoised_disagreement"],
    "controls": ["random", "jitter", "lid"],
    "nested": ["lid"],
    "primary": [
        {"score": "renoised_disagreement", "control": "lid", "fault": "broken", "data": "glyphs"},
        {"score": "renoised_disagreement", "control": "nested", "fault": "broken", "data": "glyphs"},
        {"score": "entropy", "control": "lid", "fault": "broken", "data": "glyphs"},
    ],
}
COSTS = {"renoised_disagreement": 16.0, "entropy": 30.0, "lid": 4.0, "jitter": 20.0, "random": 0.0}
STRENGTHS = {"renoised_disagreement": 2.0, "entropy": 0.0, "lid": 0.7, "jitter": 0.3, "random": 0.0}
KINDS = {"lid": "baseline", "jitter": "control", "random": "control"}


def declare(folder: Path, **changes: Any) -> Path:
    """A board's file; None takes a key away."""
    path = folder / "made.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in (BOARD | changes).items() if value is not None}))
    return path


def board(folder: Path, **changes: Any) -> Board:
    return read_board(declare(folder, **changes))


def scored(seed: int = 0, samples: int = 1200, bad: float = 0.3, classes: int | None = None, **names: str) -> ScoredSet:
    """Samples with two kinds of fault; scores that know the broken ones by `STRENGTHS`, and nothing of the others."""
    source = np.random.default_rng(seed)
    kind = source.random(samples)
    broken, rule = kind < bad, (kind >= bad) & (kind < bad + 0.2)
    columns = {
        name: ScoreColumn(
            strength * broken + source.normal(size=samples),
            name.replace("_", " ").capitalize(),
            KINDS.get(name, "score"),
            COSTS[name],
            0.01 if COSTS[name] else None,
            name in ("renoised_disagreement", "entropy"),
        )
        for name, strength in STRENGTHS.items()
    }
    return ScoredSet(
        condition=Condition(names.get("data", "glyphs"), names.get("sampler", "ode"), seed),
        columns=columns,
        faults={"broken": broken, "rule_broken": rule},
        valid=~broken & ~rule,
        classes=None if classes is None else source.integers(0, classes, samples),
        complexity=source.random(samples),
        clusters=np.arange(samples),
        sampling_evaluations=10.0,
    )


def sets(seeds: Sequence[int] = (0, 1), **options: Any) -> list[ScoredSet]:
    return [scored(seed, **options) for seed in seeds]
