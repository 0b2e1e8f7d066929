"""A run small enough for a test that leaves all that a saved set can hold: glyphs with a class, guidance, the path."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.small_runs import COMMON, EVALUATION

SHARED = ("path_disagreement", "guidance_gap", "renoised_disagreement", "lid")  # scores of the path and of the probe
RUN = [
    *COMMON,
    *EVALUATION,
    "experiment=glyphs",
    "data.size=60",
    "model.class_conditional=true",
    "network.channels=[8,16]",
    "trainer.steps=2",
    "trainer.batch_size=8",
    "posterior.members=2",
    "posterior.draws=2",
    "sampler.steps=2",
    "sampler.samples=20",
    "sampler.batch_size=8",
    "sampler.guidance_scale=2.0",
    "sampler.keep_path=true",
    f"score.also=[trace,trajectory_variance,{','.join(SHARED)}]",
    "score.controls=[random,complexity,jitter]",
    "score.probe_noisings=2",
    "stages=[train,fit,sample,probe,embed,score,evaluate]",
]


def copied_set(source: Path, target: Path) -> Path:
    """A set of files of its own, without the columns that were computed since."""
    return Path(shutil.copytree(source, target, ignore=shutil.ignore_patterns("scored")))
