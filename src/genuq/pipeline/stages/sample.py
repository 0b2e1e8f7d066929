"""The stage that samples: every sample unperturbed, under each weight draw, and under the controls that resample.

Shards are keyed by sample index. A killed run finds its finished shards again and goes on with the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genuq.display import Display
from genuq.models import metered, sample, to_bytes
from genuq.parallel import collectives
from genuq.pipeline.columns import (
    RESAMPLED,
    control_settings,
    foreign,
    is_version,
    of_source,
    options_of,
    spent,
    watched,
    watched_settings,
)
from genuq.pipeline.posteriors import load_posterior
from genuq.pipeline.run import OWN, Run
from genuq.pipeline.sharded import deal
from genuq.pipeline.stage import Stage, checkpoint_identity
from genuq.posteriors import Posterior
from genuq.scores import SCORES, regenerate
from genuq.store.artefact import StageFolder
from genuq.store.shards import read_shards


class Sample(Stage):
    """Leaves shard-START-STOP.safetensors: index, class (-1 for none), image, draws, those of the posteriors beside
    the run's own by their names, and the resampling controls; the scores of the trajectories; and the network
    evaluations that were counted for each of these.

    Images are float32 (B, C, H, W) in [-1, 1], points (B, D). Draws and controls (B, M, ...) are stored as float16
    deviations from them: most are smaller than a grey level, and would be lost in uint8.
    """

    name = "sample"
    version = 2
    shared = True
    inputs = ("fit",)
    groups = ("sampler",)

    def settings(self, run: Run) -> dict[str, Any]:
        settings = super().settings(run)
        return settings | {
            "checkpoint": checkpoint_identity(run),
            "draws": {name: posterior["draws"] for name, posterior in run.posteriors().items()},
            "controls": [*of_source(run, "initial_noise"), *of_source(run, "weights")],
            "watched": watched_settings(run),
            **control_settings(run, *RESAMPLED),
            **foreign(run, "trajectory", *RESAMPLED),
        }

    def work(self, run: Run, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        drawn, seconds, made = self.sampled(run, folder, display)
        return {  # the cost is that of the samples made now: an interrupted run left no times
            "seconds_per_sample": {key: value / max(1, made) for key, value in seconds.items()},
            "evaluations_per_sample": run.sampler.evaluations(run.model),
            "relative_perturbation": {name: posterior.relative_perturbation() for name, posterior in drawn.items()},
        }

    def assist(self, run: Run, display: Display) -> None:
        self.sampled(run, self.folder(run), display)

    def sampled(
        self, run: Run, folder: StageFolder, display: Display
    ) -> tuple[dict[str, Posterior], dict[str, float], int]:
        """Make what is missing; (what was drawn from, the seconds of all processes, samples made now)."""
        drawn = {name: load_posterior(run, name) for name in run.posteriors()}
        for name, control in of_source(run, "weights").items():
            drawn[name] = control.make(drawn[OWN], run.model.network, **options_of(run, name))
        passes = 1 + sum(draws_of(run, name) for name in (*drawn, *of_source(run, "initial_noise")))
        seconds = dict.fromkeys(("unperturbed", *drawn), 0.0)

        def make(indices: list[int], advance: Callable[[int], None]) -> dict[str, Tensor]:
            return one_shard(run, drawn, indices, advance, seconds)

        made = deal(run, folder, make, display, "sampling", passes)
        return drawn, collectives.totals(seconds), made


def draws_of(run: Run, name: str) -> int:
    """M of a posterior, or of a control, which has as many as the run's own posterior."""
    settings = run.posteriors()
    return settings.get(name, settings[OWN])["draws"]


def one_shard(
    run: Run,
    drawn: Mapping[str, Posterior],
    indices: Sequence[int],
    advance: Callable[[int], None],
    seconds: dict[str, float],
) -> dict[str, Tensor]:
    """All versions of the samples `indices`; adds the seconds spent to `seconds`."""
    model, sampler = run.model, run.sampler
    classes = sampler.classes_of(model, indices)
    started = time.perf_counter()
    unperturbed = watched(run, indices, advance)
    seconds["unperturbed"] += time.perf_counter() - started
    versions = {}
    with metered(model) as meter:
        for name, posterior in drawn.items():
            started = time.perf_counter()
            with meter.charging(name):
                draws = draws_of(run, name)
                versions[name] = regenerate(model, posterior, sampler, indices, draws, run.config.seed, advance)
            seconds[name] += time.perf_counter() - started
        for name in of_source(run, "initial_noise"):
            with meter.charging(name):
                versions[name] = restarted(run, name, indices, advance)
    return {
        "index": torch.tensor(indices),
        "class": torch.full((len(indices),), -1) if classes is None else classes,
        **unperturbed,
        **spent(meter.per_sample(len(indices)), len(indices)),
        **{name: (tensor - unperturbed["image"][:, None]).half() for name, tensor in versions.items()},
    }


def restarted(run: Run, name: str, indices: Sequence[int], advance: Callable[[int], None]) -> Tensor:
    """The samples from the initial noise that a control gives them, with the trained weights, (B, M, ...)."""
    noise, key = run.sampler.initial_noise(run.model, indices), {"seed": run.config.seed, "indices": indices}
    make = partial(SCORES.get(name).make, noise, **key, **options_of(run, name))
    starts = [make(draw=m) for m in range(run.config.posterior.draws)]
    return torch.stack([sample(run.model, run.sampler, indices, start, advance) for start in starts], dim=1)


def read_samples(run: Run) -> dict[str, Tensor]:
    """All shards of a finished sample stage in the order of their indices; images, draws and controls as float32."""
    return with_deviations(read_shards(run.path("sample")))


def with_deviations(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Draws and controls as the samples that they are, instead of their deviations from the unperturbed ones."""
    deviations = {name for name in stored if is_version(name)} - {"image"}
    return {**stored, **{name: stored["image"][:, None] + stored[name].float() for name in deviations}}


def shown(run: Run, samples: Tensor) -> Tensor:
    """Samples as a person sees them: uint8 images, or points."""
    return to_bytes(samples) if run.is_image else samples
