"""The columns of a run's table: which scores it asks for, what the sampler must watch for them, and what each costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genuq.analysis import ScoredSamples
from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel
from genuq.parts import identity
from genuq.pipeline.posteriors import is_control
from genuq.pipeline.run import OWN, Run
from genuq.scores import SCORES, ScorePart, Watcher, watch
from genuq.store.shards import Shards

WATCHED, SPENT = "score.", "evaluations."  # prefixes of a sample's columns: a score of its trajectory; what was spent
KINDS = ("score", "baseline", "control", "oracle")  # in the order of the table
RESAMPLED = ("initial_noise", "weights")  # sources of the controls that sample again


def columns_of(run: Run) -> list[str]:
    """Names of all columns: the run's own score first, then by kind."""
    score = run.config.score
    pixels = [] if run.config.propagator is None else ["pixel_variance"]
    names = dict.fromkeys([score.name, *score.also, *pixels, *beside(run), *score.controls, "realism"])
    return sorted(names, key=lambda name: -1 if name == score.name else KINDS.index(entry_of(run, name).kind))


def beside(run: Run) -> list[str]:
    """Names of the posteriors beside the run's own."""
    return [name for name in run.posteriors() if name != OWN]


def entry_of(run: Run, name: str) -> ScorePart:
    """What is known of a column; that of a posterior beside the run's own is the functional of its draws."""
    if name not in beside(run):
        return SCORES.get(name)
    own = SCORES.get(functional_of(run))
    label = f"{own.label}: {name.replace('_', ' ').replace('posthoc', 'post-hoc')}"
    return replace(own, name=name, label=label, kind="control" if is_control(run.posteriors()[name]) else "score")


def of_source(run: Run, *sources: str) -> dict[str, ScorePart]:
    """The columns that are made from one of these, but for posteriors beside the run's own."""
    names = [name for name in columns_of(run) if name not in beside(run)]
    return {name: SCORES.get(name) for name in names if SCORES.get(name).source in sources}


def options_of(run: Run, name: str) -> dict[str, Any]:
    """The options of a score as the configuration has them."""
    return SCORES.get(name).chosen(run.plain("score")["score"])


def control_settings(run: Run, *sources: str) -> dict[str, Any]:
    """The options of the controls of these sources, by the configuration's keys."""
    parts = of_source(run, *sources)
    return {parts[name].key_of(key): value for name in parts for key, value in options_of(run, name).items()}


def foreign(run: Run, *sources: str) -> dict[str, Any]:
    """What identifies the columns of these sources that are not genuq's own; empty where all are."""
    parts = {name: part for name, part in of_source(run, *sources).items() if not part.builtin}
    return {"parts": {name: identity(part) for name, part in parts.items()}} if parts else {}


def functional_of(run: Run) -> str:
    """The functional of the draws of controls and other posteriors: the run's own, or the entropy if it has none."""
    return run.config.score.name if SCORES.get(run.config.score.name).source == "draws" else "entropy"


def check_columns(run: Run) -> None:
    """Raise ConfigurationError for a column that this run cannot have."""
    for key, names in (
        ("score.name", [run.config.score.name]),
        ("score.also", run.config.score.also),
        ("score.controls", run.config.score.controls),
    ):
        for name in names:
            known = SCORES.get(name, key)
            if known.needs_images and not run.is_image:
                raise ConfigurationError(f"{key}: '{name}' needs images; remove it for points.")
            if known.source == "propagation" and run.config.propagator is None:
                raise ConfigurationError(
                    f"{key}: '{name}' needs a propagator: add propagator=trajectory, for instance."
                )
            known.resolve()


def check_watchers(run: Run, model: GenerativeModel) -> None:
    """Raise ConfigurationError for options with which a baseline cannot watch this sampler."""
    for build in watchers(run).values():
        build(model, run.sampler, [0])


def watched_settings(run: Run) -> dict[str, dict[str, Any]]:
    """The baselines that watch the sampler, with their options."""
    return {name: options_of(run, name) for name in of_source(run, "trajectory")}


def watchers(run: Run) -> dict[str, Callable[..., Watcher]]:
    return {name: partial(SCORES.get(name).make, **options) for name, options in watched_settings(run).items()}


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


def cost(run: Run, name: str, samples: Mapping[str, Tensor]) -> float:
    """Network evaluations of one sample that a score took beside those of sampling, as counted."""
    source = entry_of(run, name).source
    if source == "propagation":
        return float(Shards(run.path("propagate")).read("evaluations").mean())
    column = samples.get(f"{SPENT}{OWN if source == 'draws' and name not in beside(run) else name}")
    return 0.0 if column is None else float(column.mean())


def scored_samples(run: Run, columns: Mapping[str, Tensor], samples: Mapping[str, Tensor]) -> dict[str, ScoredSamples]:
    """The columns with what a reader needs to know of them, the run's own score first."""
    entries = {name: entry_of(run, name) for name in columns_of(run)}
    return {
        name: ScoredSamples(columns[name], known.label, known.kind, cost(run, name, samples))
        for name, known in entries.items()
    }
