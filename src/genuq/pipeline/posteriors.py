"""The posteriors of a run: their names, settings and files, and what is checked of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from genuq import posteriors
from genuq.errors import ConfigurationError, did_you_mean
from genuq.models import Engine, GenerativeModel
from genuq.pipeline.run import MAIN_POSTERIOR, Run
from genuq.posteriors import (
    ChosenScale,
    FitResult,
    FitSettings,
    IsotropicNoise,
    NetworkNoise,
    Posterior,
    ScaleOptions,
)
from genuq.posteriors.fitting.held_out import HeldOutSums
from genuq.scores import SCORES
from genuq.training.member_settings import MEMBER_KINDS

FITTED = "posterior.safetensors"
OF_FIT = ("images", "held_out", "repeats", "batch_size", "time_bins", "fisher_draws")  # keys that `FitSettings` has
RESERVED = {  # names of columns and files, beside the scores' names
    *(MAIN_POSTERIOR, "posterior", "unperturbed", "image", "index", "class", "class_name", "prompt", "real", "map"),
    *("judge", "score", "evaluations", "confidence", "predicted", "membership", "member", "bad", "clip_score"),
}


def posterior_path(folder: Path, name: str) -> Path:
    return folder / f"{'posterior' if name == MAIN_POSTERIOR else name}.safetensors"


def in_order(settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The posteriors' names, those that take their size from another one last."""
    return sorted(settings, key=lambda name: settings[name].get("match") is not None)


def of_members(settings: Mapping[str, Any]) -> bool:
    """Whether a posterior is fitted to whole sets of weights."""
    return posteriors.POSTERIORS[settings["name"]].source == "weights"


def size_from_exact(settings: Mapping[str, Any]) -> bool:
    """Whether this is isotropic noise on the head whose size is left to the exact posterior."""
    return settings["name"] == IsotropicNoise.kind and not has_size(settings)


def has_size(settings: Mapping[str, Any]) -> bool:
    """Whether the configuration itself says how large weight noise is."""
    return settings.get("prior_precision") is not None or settings.get("relative_perturbation") is not None


def size_source(settings: Mapping[str, Any]) -> str | None:
    """The posterior whose size this one takes; the configuration calls the run's own `posterior`."""
    matched: str | None = settings.get("match")
    return MAIN_POSTERIOR if matched == "posterior" else matched


def fit_settings(run: Run, name: str) -> FitSettings:
    """The fit of one posterior as the configuration has it; its schema has what its kind knows."""
    settings = run.posteriors()[name]
    own = posteriors.POSTERIORS[settings["name"]].option_names
    return FitSettings(
        kind=settings["name"],
        seed=run.config.seed,
        scale=scale_options(settings),
        options={key: settings[key] for key in own if settings.get(key) is not None},
        **{key: settings[key] for key in OF_FIT if key in settings and key not in own},
    )


def scale_options(settings: Mapping[str, Any]) -> ScaleOptions:
    """What the configuration fixes of a scale."""
    return ScaleOptions(**{key: settings[key] for key in ScaleOptions.__dataclass_fields__ if key in settings})


def key_of(name: str) -> str:
    """Where the configuration has the posterior called `name`."""
    return "posterior" if name == MAIN_POSTERIOR else f"beside.{name}"


def check_posteriors(run: Run) -> None:
    """Raise ConfigurationError for kinds that do not exist, or sizes to be taken from none of the run's posteriors."""
    for name in run.config.beside:
        if name in RESERVED or name in SCORES:
            raise ConfigurationError(f"beside.{name}: this name means something else; choose another.")
    settings = run.posteriors()
    for name, entry in settings.items():
        key = key_of(name)
        check_kind(entry["name"], key)
        check_size(settings, name)
        scale_options(entry)


def check_kind(kind: str, key: str) -> None:
    """Raise ConfigurationError for a kind that is none, or that no stage of a run can make."""
    part = posteriors.POSTERIORS.get(kind, f"{key}.name")
    part.resolve()
    if part.source == "weights" and kind not in MEMBER_KINDS:
        raise ConfigurationError(
            f"{key}.name = '{kind}' is made of whole sets of weights, which a run trains for {', '.join(MEMBER_KINDS)} "
            "alone. Give its class the source `nothing`, or `images`, and let it find its members itself."
        )


def check_size(settings: Mapping[str, Mapping[str, Any]], name: str) -> None:
    """Raise ConfigurationError for noise without a size, or with one that the other cannot give."""
    entry, key, other = settings[name], key_of(name), size_source(settings[name])
    if other is None:
        if entry["name"] == NetworkNoise.kind and not has_size(entry):
            raise ConfigurationError(
                f"{key}: isotropic noise has no likelihood to choose its size from: set {key}.match, "
                f"{key}.prior_precision or {key}.relative_perturbation."
            )
        return
    if other not in settings or settings[other].get("match") is not None:
        sources = [known for known in settings if known != MAIN_POSTERIOR and settings[known].get("match") is None]
        raise ConfigurationError(
            f"{key}.match: '{entry['match']}' is no posterior of this run that could lend its size."
            + did_you_mean(other, ["posterior", *sources])
        )
    if entry["name"] == IsotropicNoise.kind and posteriors.POSTERIORS[settings[other]["name"]].scope != "head":
        raise ConfigurationError(
            f"{key}.match: '{entry['match']}' moves other layers than the head too. Use isotropic_network."
        )


def is_control(settings: Mapping[str, Any]) -> bool:
    """Whether a posterior is none: weight noise that knows no data."""
    return posteriors.POSTERIORS[settings["name"]].kind == "control"


def take_size(other: Posterior, network: nn.Module, kind: str, source: str) -> FitResult:
    """Isotropic noise that moves the weights as much as another fitted posterior.

    Args:
        network: of the model.
        kind: of the noise.
        source: what the other is called in reasons.
    """
    noise = posteriors.isotropic_like(other, network, kind)
    how = {key: f"that of {source}" for key in ("n_effective", "observation_noise")}
    how |= {"temperature": "one: no likelihood takes part", "prior_precision": f"gives the noise the size of {source}"}
    chosen = ChosenScale(noise.require_final(), how, evidence=None, criterion="match")
    return FitResult(noise, chosen, HeldOutSums(inputs=0), seconds=0.0, forward_seconds=0.0)


def evaluated(engine: Engine, model: GenerativeModel, drawn: Iterable[Posterior]) -> GenerativeModel:
    """The model as its network is evaluated under draws of these posteriors."""
    return engine.of(model, *posteriors.drawn_in(engine.precision, drawn)) if engine else model


def load_posterior(fit: Path, model: GenerativeModel, name: str = MAIN_POSTERIOR) -> Posterior:
    """A fitted posterior.

    Args:
        fit: artefact of the stage that fits.
        model: that it was fitted to.
        name: of its draws.
    """
    return posteriors.load(posterior_path(fit, name), model)
