"""The columns of a run's table: which scores it asks for, what the sampler must watch for them, and what each costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genuq.analysis.evaluation import KINDS
from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, Sampler
from genuq.pipeline.configured import build_sampler, description_of, is_image, model_part, untrained_model
from genuq.pipeline.inputs import PartInputs, part_inputs
from genuq.pipeline.posteriors import is_control
from genuq.pipeline.run import MAIN_POSTERIOR, Run
from genuq.posteriors.dataless import MAP
from genuq.scores import SCORES, Resources, ScorePart, Watched, Watcher, watch

PRIOR = "class_prior"
# prefixes of a sample's columns: a score of its trajectory; what was spent; the map of a score
WATCHED, SPENT, MAPPED = "score.", "evaluations.", "map."
PARTIAL = "#"  # before the number of a setting that does a part of a score's work, in the name of its column


def score_columns(run: Run) -> list[str]:
    """Names of all columns: the run's own score first, then by kind. Where the model knows classes and there are
    controls, the class prior is one of them.
    """
    score = run.config.score
    pixels = [] if run.config.propagator is None else ["pixel_variance"]
    controls = [*score.controls, *([PRIOR] if score.controls and knows_classes(run) else [])]
    names = dict.fromkeys([score.name, *score.also, *pixels, *other_posteriors(run), *controls, "realism"])
    return sorted(names, key=lambda name: -1 if name == score.name else KINDS.index(entry_of(run, name).kind))


def leaving_maps(run: Run, *sources: str) -> list[str]:
    """The columns of these sources that leave a map where `score.maps` is set: disagreements in pixels."""
    if not run.config.score.get("maps"):
        return []
    return [
        name
        for name, part in of_source(run, *sources).items()
        if "members" in part.needs and not part.needs & {"encoder", "several"}
    ]


def maps_of(maps: Mapping[str, Tensor], kept: bool) -> dict[str, Tensor]:
    """Maps of scores as columns of the samples, where they are kept."""
    return {f"{MAPPED}{name}": values.float() for name, values in maps.items() if kept and PARTIAL not in name}


def knows_classes(run: Run) -> bool:
    """Whether the run's model knows classes; only one of a user's own must be built to tell."""
    if model_part(run) is None:
        return bool(description_of(run)["num_classes"])
    return untrained_model(run).num_classes > 0


def other_posteriors(run: Run) -> list[str]:
    """Names of the posteriors beside the run's own."""
    return [str(name) for name in run.config.beside or {}]


def regenerated(run: Run) -> tuple[str, ...]:
    """The posteriors whose draws make every sample anew, by the names of these draws: those that a column is of.

    Scores of the path and of finished samples ask members about the one sample that there is.
    """
    scored = {draws_scored(run, name) for name in score_columns(run) if entry_of(run, name).source == "draws"}
    return tuple(name for name in run.posteriors() if name in scored)


def entry_of(run: Run, name: str) -> ScorePart:
    """What is known of a column; that of a posterior beside the run's own is the functional of its draws."""
    if name not in other_posteriors(run):
        return SCORES.get(name)
    own = SCORES.get(functional_of(run))
    label = f"{own.label}: {name.replace('_', ' ').replace('posthoc', 'post-hoc')}"
    return replace(own, name=name, label=label, kind="control" if is_control(run.posteriors()[name]) else "score")


def of_source(run: Run, *sources: str) -> dict[str, ScorePart]:
    """The columns that are made from one of these, but for posteriors beside the run's own."""
    others = other_posteriors(run)
    names = [name for name in score_columns(run) if name not in others]
    return {name: SCORES.get(name) for name in names if SCORES.get(name).source in sources}


def options_of(run: Run, name: str) -> dict[str, Any]:
    """The options of a score as the configuration has them."""
    return SCORES.get(name).chosen(run.plain("score")["score"])


def score_inputs(run: Run, name: str) -> PartInputs:
    """A score with its options, as stages declare it."""
    return part_inputs(SCORES.get(name), options_of(run, name))


def inputs_of_source(run: Run, *sources: str) -> dict[str, PartInputs]:
    """The columns that are made from one of these sources, as stages declare them."""
    return {name: score_inputs(run, name) for name in of_source(run, *sources)}


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
            if known.needs_images and not is_image(run):
                raise ConfigurationError(f"{key}: '{name}' needs images; remove it for points.")
            of_draws = (known.source == "draws" and key != "score.controls") or known.needs & {"members", "isotropic"}
            if of_draws and run.config.posterior.name == MAP.kind:
                raise ConfigurationError(
                    f"{key} = '{name}' scores how draws differ, but posterior = '{MAP.kind}' draws the trained weights "
                    "alone. Choose a posterior, or a score that needs none, such as score.name=trajectory_variance."
                )
            if known.source == "propagation" and run.config.propagator is None:
                raise ConfigurationError(
                    f"{key}: '{name}' needs a propagator: add propagator=trajectory, for instance."
                )
            if (known.source == "class" or "classes" in known.needs) and not knows_classes(run):
                instead = "choose score=lid_beside_posterior, for instance"
                other = instead if key == "score.name" else "remove it for this one"
                raise ConfigurationError(f"{key}: '{name}' needs a model that knows classes; {other}.")
            if "null" in known.needs and not untrained_model(run).has_null:
                raise ConfigurationError(
                    f"{key}: '{name}' compares with the null class, which this model was trained without: choose "
                    "another score (score=lid, score=path_disagreement)."
                )
            known.resolve()


def check_watchers(run: Run, model: GenerativeModel) -> None:
    """Raise ConfigurationError for options with which a baseline cannot watch this sampler."""
    for build in watchers(watched_inputs(run)).values():
        build(model, build_sampler(run), [0])


def watched_inputs(run: Run) -> dict[str, PartInputs]:
    """The baselines that watch the sampler, with their options."""
    return inputs_of_source(run, "trajectory")


def watchers(baselines: Mapping[str, PartInputs]) -> dict[str, Callable[..., Watcher]]:
    """What watches the sampler, by name."""
    return {name: partial(SCORES.get(name).make, **part.options) for name, part in baselines.items()}


def watched(
    model: GenerativeModel,
    sampler: Sampler,
    indices: Sequence[int],
    baselines: Mapping[str, PartInputs],
    progress: Callable[[int], None],
    path_scores: Mapping[str, Callable[[Any], Tensor]] | None = None,
    resources: Resources | None = None,
    keep_path: bool = False,
) -> tuple[dict[str, Tensor], Watched]:
    """The unperturbed samples as `image`, with the columns of what watched them and of what it cost; and the record.

    Args:
        indices: of the samples.
        baselines: that watch.
        progress: called with the passes done.
        path_scores: of the path, by name.
        resources: that these may ask for.
        keep_path: whether the record has the samplers' paths.
    """
    record = watch(model, sampler, indices, watchers(baselines), progress, path_scores, resources, keep_path)
    scores = {f"{WATCHED}{name}": values for name, values in record.scores.items()}
    return {"image": record.samples, **scores, **evaluation_counts(record.evaluations, len(indices))}, record


def evaluation_counts(evaluations: Mapping[str, float], samples: int) -> dict[str, Tensor]:
    """Measured evaluations of one sample as columns (N,)."""
    return {f"{SPENT}{name}": torch.full((samples,), value, dtype=torch.float64) for name, value in evaluations.items()}


def score_seconds(seconds: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Notes of the seconds of one sample that each score took, apart from those of settings that do a part of its work.

    Nothing where there are none.
    """
    notes: dict[str, dict[str, float]] = {}
    for name, value in seconds.items():
        notes.setdefault(f"{'partial' if PARTIAL in name else 'score'}_seconds", {})[name] = value
    return notes


def is_version(name: str) -> bool:
    """Whether a tensor of the samples holds versions of them: the samples themselves, draws or controls."""
    return name not in ("index", "class") and not name.startswith((WATCHED, SPENT, MAPPED))


def draws_scored(run: Run, name: str) -> str:
    """The set of draws that a column is of: a score of draws is of the main posterior's, all others of their own."""
    is_main = entry_of(run, name).source == "draws" and name not in other_posteriors(run)
    return MAIN_POSTERIOR if is_main else name


def cost(charged_to: str, samples: Mapping[str, Tensor]) -> float:
    """Network evaluations of one sample that a score took beside those of sampling, as counted.

    Args:
        charged_to: what they were counted under.
        samples: of the sample stage.
    """
    column = samples.get(f"{SPENT}{charged_to}")
    return 0.0 if column is None else float(column.mean())
