"""Runs small enough for a test: the pipeline on the plane, and on a folder of 16 x 16 images."""

from __future__ import annotations

import copy
import functools
import shutil
from pathlib import Path

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from genuq import machine
from genuq.cli.run import run_job
from genuq.config import schemas
from genuq.config.compose import config_directory
from genuq.config.plugged import settle
from genuq.pipeline.execute import opened
from genuq.pipeline.run import Run

COMMON = ["device=cpu", "seed=3"]
EVALUATION = [
    "metric.reference_images=40",
    "metric.k=3",
    "metric.bins=4",
    "metric.bootstrap=20",
    "metric.half_samples=4",
    "metric.random_repeats=3",
    "metric.fractions=[1.0,0.7,0.5]",
]
POINTS = [
    *COMMON,
    *EVALUATION,
    "experiment=mixture",
    "stages=[train,fit,sample,embed,score,evaluate]",
    "network.width=16",
    "network.depth=1",
    "data.size=400",
    "trainer.steps=5",
    "trainer.batch_size=32",
    "posterior.images=100",
    "posterior.held_out=50",
    "posterior.batch_size=50",
    "posterior.draws=2",
    "sampler.steps=3",
    "sampler.samples=40",
    "sampler.batch_size=16",
]
IMAGES = [
    *COMMON,
    *EVALUATION,
    "data=image_folder",
    "data.image_size=16",
    "data.channels=1",
    "network.channels=[8,16]",
    "network.stem=1",
    "stages=[train,judge,fit,sample,embed,score,evaluate,report]",
    "trainer.steps=3",
    "trainer.judge_steps=3",
    "trainer.batch_size=16",
    "posterior.images=40",
    "posterior.held_out=16",
    "posterior.batch_size=20",
    "posterior.draws=2",
    "likelihood=pixel",
    "score=entropy",
    "score.also=[trace]",
    "sampler.steps=2",
    "sampler.samples=24",
    "sampler.batch_size=8",
]
EXACT = [
    *COMMON,
    *EVALUATION,
    "experiment=mixture_exact",
    "stages=[fit,sample,embed,score,evaluate]",
    "data.size=400",
    "posterior.images=100",
    "posterior.held_out=50",
    "posterior.batch_size=50",
    "posterior.draws=2",
    "sampler.steps=6",
    "sampler.samples=60",
    "sampler.batch_size=20",
]


@functools.cache
def chosen(*groups: str) -> DictConfig:
    """The configuration under a choice of options; composed once, as it takes a third of a second."""
    schemas.register()
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        return compose("config", overrides=list(groups))


def composed(*overrides: str) -> DictConfig:
    """The configuration that `genuq *overrides` runs with; the last of repeated keys counts."""
    pairs = dict(text.split("=", 1) for text in overrides)
    groups = [key for key in pairs if (config_directory() / key.lstrip("+").split("@")[0]).is_dir()]
    config = copy.deepcopy(chosen(*(f"{key}={pairs[key]}" for key in groups)))
    for key, value in pairs.items():
        if key not in groups:
            OmegaConf.update(config, key, yaml.safe_load(value))
    return settle(config)


def launch(folder: Path, *overrides: str) -> None:
    """The run as the command makes it, in this process; its store lies in its own folder unless another is given."""
    machine.prepare()
    run_job(composed(f"store={folder}/store", *overrides), folder, "genuq " + " ".join(overrides))


def run_of(folder: Path, *overrides: str) -> Run:
    """A finished run, to read its artefacts."""
    return opened(composed(f"store={folder}/store", *overrides), folder)


def copied(source: Path, target: Path) -> Path:
    """A run with its store in another place: the links between them are relative."""
    return Path(shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True))


def content(folder: Path) -> dict[str, bytes]:
    """Every file of the store's artefacts, less what tells times or the command: manifests, and what people read."""
    store = folder / "store"
    paths = [
        path
        for stage in store.iterdir()
        if stage.name not in ("runs", "locks", "jobs", "references")
        for path in stage.rglob("*")
    ]
    told = {"manifest.json", "results.json", "index.html", "application.md"}
    return {
        str(path.relative_to(store)): path.read_bytes() for path in paths if path.is_file() and path.name not in told
    }
