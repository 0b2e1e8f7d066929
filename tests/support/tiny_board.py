"""A board whose runs take seconds: points, a tiny network, two training seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from support.made_board import BOARD

SETTINGS = [
    "stages=[train,fit,sample,probe,embed,score,evaluate]",
    "metric.bootstrap=20",
    "metric.random_repeats=3",
    "metric.half_samples=4",
    "metric.reference_images=40",
    "metric.k=3",
    "metric.bins=4",
    "metric.fractions=[1.0,0.7,0.5]",
    "metric.curves=[precision]",
    "sampler.batch_size=32",
]
POINTS = [
    "experiment=mixture_d2",
    "posterior=deep_ensemble",
    "posterior.members=2",
    "posterior.draws=2",
    "network.width=8",
    "network.depth=1",
    "trainer.steps=2",
    "trainer.batch_size=16",
    "data.size=200",
]
TINY: dict[str, Any] = BOARD | {
    "samples": 64,
    "bootstrap": 100,
    "settings": SETTINGS,
    "samplers": {"ode": {"label": "Euler", "settings": ["sampler=euler", "sampler.steps=2"]}},
    "data": {"points": {"label": "Points", "settings": POINTS, "seeds": {0: ["seed=0"], 1: ["seed=7"]}}},
    "controls": ["random", "lid"],
    "primary": [{"score": "renoised_disagreement", "control": "lid", "fault": "broken", "data": "points"}],
}
OWN = '''"""A score of somebody's own, in a file of its own."""


def novelty(images):
    """Distance from the origin."""
    return images.flatten(1).norm(dim=1)
'''


def declare(folder: Path, **changes: Any) -> Path:
    """The file of the tiny board."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY | changes))
    return path
