"""The columns of a run's table: which scores it asks for, what the sampler must watch for them, and what each costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genuq.analysis import ScoredSamples
from genuq.errors import ConfigurationError
from genuq.metrics import rarity, realism
from genuq.models import GenerativeModel
from genuq.pipeline.posteriors import is_control
from genuq.pipeline.run import OWN, Run
from genuq.scores import BASELINES, FUNCTIONALS, SCORES, Entry, Watcher, entry, watch
from genuq.store.shards import Shards

WATCHED, SPENT = "score.", "evaluations."  # prefixes of a sample's columns: a score of its trajectory; what was spent
ORACLES = tuple(name for name, known in SCORES.items() if known.kind == "oracle")
PROPAGATED = "pixel_variance"
KINDS = ("score", "baseline", "control", "oracle")  # in the order of the table
OPTIONS = {  # of a baseline, by the key of the configuration
    "aleatoric": {"window": "window", "renoisings": "repeats"},
    "trajectory_variance": {"window": "window"},
    "divergence": {"window": "window", "probes": "probes"},
    "likelihood": {"likelihood_steps": "steps", "probes": "probes"},
}


def columns_of(run: Run) -> list[str]:
    """Names of all columns: the run's own score first, then by kind."""
    score = run.config.score
    pixels = [] if run.config.propagator is None else [PROPAGATED]
    names = dict.fromkeys([score.name, *score.also, *pixels, *beside(run), *score.controls, "realism"])
    return sorted(names, key=lambda name: -1 if name == score.name else KINDS.index(entry_of(run, name).kind))


def beside(run: Run) -> list[str]:
    """Names of the posteriors beside the run's own."""
    return [name for name in run.posteriors() if name != OWN]


def entry_of(run: Run, name: str) -> Entry:
    """What is known of a column; that of a posterior beside the run's own is the functional of its draws."""
    if name not in beside(run):
        return SCORES[name]
    label = f"{SCORES[functional_of(run)].label}: {name.replace('_', ' ').replace('posthoc', 'post-hoc')}"
    return Entry(label, "control" if is_control(run.posteriors()[name]) else "score", "draws")


def functional_of(run: Run) -> str:
    """The functional of the draws of controls and other posteriors: the run's own, or the entropy if it has none."""
    return run.config.score.name if run.config.score.name in FUNCTIONALS else "entropy"


def check_columns(run: Run) -> None:
    """Raise ConfigurationError for a column that this run cannot have."""
    for key, names in (
        ("score.name", [run.config.score.name]),
        ("score.also", run.config.score.also),
        ("score.controls", run.config.score.controls),
    ):
        for name in names:
            if entry(name, key).needs_images and not run.is_image:
                raise ConfigurationError(f"{key}: '{name}' needs images; remove it for points.")
            if name == PROPAGATED and run.config.propagator is None:
                raise ConfigurationError(
                    f"{key}: '{name}' needs a propagator: add propagator=trajectory, for instance."
                )


def check_watchers(run: Run, model: GenerativeModel) -> None:
    """Raise ConfigurationError for options with which a baseline cannot watch this sampler."""
    for build in watchers(run).values():
        build(model, run.sampler, [0])


def watched_settings(run: Run) -> dict[str, dict[str, Any]]:
    """The baselines that watch the sampler, with their options."""
    found = {}
    for name in columns_of(run):
        if name in BASELINES:
            chosen = {option: run.config.score[key] for key, option in OPTIONS[name].items()}
            found[name] = {k: tuple(v) if k == "window" else v for k, v in chosen.items() if v is not None}
    return found


def watchers(run: Run) -> dict[str, Callable[..., Watcher]]:
    return {name: partial(BASELINES[name], **options) for name, options in watched_settings(run).items()}


def watched(run: Run, indices: Sequence[int], progress: Callable[[int], None]) -> dict[str, Tensor]:
    """The unperturbed samples as `image`, with the columns of what watched them and of what it cost."""
    found = watch(run.model, run.sampler, indices, watchers(run), progress)
    scores = {f"{WATCHED}{name}": values for name, values in found.scores.items()}
    return {"image": found.samples, **scores, **spent(found.evaluations, len(indices))}


def spent(evaluations: Mapping[str, float], samples: int) -> dict[str, Tensor]:
    """Measured evaluations of one sample as columns (N,)."""
    return {f"{SPENT}{name}": torch.full((samples,), value, dtype=torch.float64) for name, value in evaluations.items()}


def is_version(name: str) -> bool:
    """Whether a tensor of the samples holds versions of them: the samples themselves, draws or controls."""
    return name not in ("index", "class") and not name.startswith((WATCHED, SPENT))


def oracle(run: Run, name: str, judged: Mapping[str, Tensor]) -> Tensor:
    """What filtering with real data at hand would do, in the judge's space: minus realism, or rarity.

    Off the manifold, where rarity is not defined, a sample counts as rarer than all others.
    """
    real, fake, k = judged["real"], judged["image"], run.config.metric.k
    return -realism(real, fake, k).double() if name == "realism" else rarity(real, fake, k).nan_to_num(math.inf)


def cost(run: Run, name: str, samples: Mapping[str, Tensor]) -> float:
    """Network evaluations of one sample that a score took beside those of sampling, as counted."""
    if name == PROPAGATED:
        return float(Shards(run.path("propagate")).read("evaluations").mean())
    column = samples.get(f"{SPENT}{OWN if name in FUNCTIONALS else name}")
    return 0.0 if column is None else float(column.mean())


def scored_samples(run: Run, columns: Mapping[str, Tensor], samples: Mapping[str, Tensor]) -> dict[str, ScoredSamples]:
    """The columns with what a reader needs to know of them, the run's own score first."""
    entries = {name: entry_of(run, name) for name in columns_of(run)}
    return {
        name: ScoredSamples(columns[name], known.label, known.kind, cost(run, name, samples))
        for name, known in entries.items()
    }
