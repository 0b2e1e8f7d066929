"""The stage that propagates: the uncertainty of every pixel of the run's samples, beside their sampling."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genuq import posteriors, propagators
from genuq.analysis.results import MapsEntry
from genuq.display import Display
from genuq.errors import ConfigurationError
from genuq.pipeline.masks import score_mask
from genuq.pipeline.posteriors import load_posterior
from genuq.pipeline.run import Run
from genuq.pipeline.sharded import deal
from genuq.pipeline.stage import Stage
from genuq.propagators import Propagator, pixel_map, propagate
from genuq.propagators.maps import check_map
from genuq.propagators.scores import check_reduction
from genuq.scores import ScorePart
from genuq.store.artefact import StageFolder
from genuq.store.shards import read_shards

SCORED = ("reduce", "share", "mask")  # of the settings: how the score is made of the variances
SHARED = ("name", *SCORED, "map_method", "map_draws")  # of all propagators' settings; the rest is its own


class Propagate(Stage):
    """Leaves shard-START-STOP.safetensors: index, mean and variance of the final latents, the network evaluations that
    each sample took beside those of sampling, and the map of each image (standard deviations in its units, [-1, 1];
    absent where variances are negative).

    The images are bit for bit those of the sample stage. Without a propagator it does nothing and leaves nothing.
    """

    name = "propagate"
    version = 2
    shared = True
    inputs = ("fit", "sample")
    groups = ("propagator", "sampler")

    def settings(self, run: Run) -> dict[str, Any]:
        """Another score of the same variances is no reason to propagate again."""
        found = super().settings(run)
        asked = found["propagator"] or {}
        return found | {"propagator": {key: asked[key] for key in asked if key not in SCORED}}

    def applies(self, run: Run) -> bool:
        return run.config.propagator is not None

    def work(self, run: Run, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        self.assist(run, display)
        return {"propagator": run.config.propagator.name}

    def assist(self, run: Run, display: Display) -> None:
        deal(run, self.folder(run), partial(one_shard, run, load_posterior(run)), display, "propagating")


def one_shard(
    run: Run, posterior: posteriors.Posterior, indices: list[int], advance: Callable[[int], None]
) -> dict[str, Tensor]:
    settings, seed = run.config.propagator, run.config.seed
    found = propagate(run.model, posterior, run.sampler, indices, propagator_of(run), seed)
    tensors = {
        "index": torch.tensor(indices),
        "mean": found.mean.float(),
        "variance": found.variance,
        "evaluations": torch.full((len(indices),), found.evaluations - found.plain_evaluations, dtype=torch.float64),
    }
    if bool((found.variance >= 0).all()):
        deviation = pixel_map(
            run.model, found.mean, found.variance, settings.map_method, settings.map_draws, seed, indices
        )
        tensors["map"] = deviation.float()
    advance(len(indices))
    return tensors


def propagator_of(run: Run) -> Propagator:
    """The configured propagator.

    Raises:
        ConfigurationError: options that it does not take, or that cannot work.
    """
    settings = run.plain("propagator")["propagator"]
    options = {key: value for key, value in settings.items() if key not in SHARED}
    return propagators.build(settings["name"], **options)


def check_propagator(run: Run) -> None:
    """Raise ConfigurationError for a propagator that cannot treat the sampler or the posterior."""
    settings = run.config.propagator
    with keys_begin("propagator."):
        check_reduction(settings.reduce, settings.share)
    with keys_begin("propagator.map_"):
        check_map(settings.map_method, settings.map_draws)
    score_mask(run)
    require_variance(run, settings.name, "propagator")
    many, made = settings.get("draws"), run.config.posterior.draws
    if many is not None and many > made and posteriors.POSTERIORS[run.config.posterior.name].source == "weights":
        raise ConfigurationError(
            f"propagator.draws = {many}, but the run's {run.config.posterior.name} is asked for {made}: lower "
            "propagator.draws, or raise posterior.draws."
        )
    model, kind = run.architecture, posteriors.POSTERIORS[run.config.posterior.name]
    if kind.scope == "head":  # what the propagator asks of the stages, asked before there is a posterior
        stand_in = posteriors.IsotropicNoise(model.head).finalise(posteriors.Scale(1.0, 1.0, 1.0))
        propagator_of(run).check(model, stand_in, run.sampler.stages(model))


@contextlib.contextmanager
def keys_begin(prefix: str) -> Iterator[None]:
    """The library's errors name an argument, the configuration's a key, which is the argument behind a prefix."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{prefix}{error}") from error


def default_propagator(run: Run, name: str) -> Propagator:
    """A propagator with its defaults; one that follows draws follows those of the run."""
    follows = "draws" in propagators.PROPAGATORS.get(name).option_names
    return propagators.build(name, **({"draws": run.config.posterior.draws} if follows else {}))


def require_variance(run: Run, name: str, key: str) -> None:
    """Raise ConfigurationError where a propagator needs a closed-form variance that the run's posterior has not."""
    part, layers = posteriors.POSTERIORS.get(run.config.posterior.name), run.config.posterior.layers
    over_head = issubclass(part.resolve(), posteriors.KFACLaplace) and layers is not None and list(layers) == ["head"]
    if propagators.PROPAGATORS.get(name, key).needs_variance and not (part.closed_form or over_head):
        raise ConfigurationError(
            f"{key} = '{name}' needs a closed-form variance, which posterior '{part.name}' does not have. Choose "
            "coherent, which needs only draws, or a posterior over the last layer."
        )


def propagated(run: Run) -> dict[str, Tensor]:
    """What the finished stage knows of every sample; no map where some variances are negative."""
    return read_shards(run.path(Propagate.name))


def score_options(run: Run, score: ScorePart) -> dict[str, Any]:
    """What the configuration of the propagator says of a score of the variances, and the mask."""
    settings = run.plain("propagator")["propagator"]
    chosen = {option: settings[option] for option in score.option_names if option in settings}
    return chosen | {"mask": score_mask(run)}


def score_settings(run: Run) -> dict[str, Any]:
    """What the image score depends on, beside the variances; none without a propagator."""
    settings = run.config.propagator
    if settings is None:
        return {}
    mask = None if settings.mask is None else run.sha256(settings.mask)
    return {"pixel_score": {"reduce": settings.reduce, "share": settings.share, "mask": mask}}


def shown_maps(run: Run) -> Tensor | None:
    """Standard deviation of each pixel in shares of the image's range, (N, H, W): root mean square over colours."""
    if run.config.propagator is None or not run.is_image:
        return None
    found = propagated(run)
    if "map" not in found:
        return None
    return found["map"].double().square().mean(1).sqrt().float() / 2


def maps_entry(run: Run) -> MapsEntry | None:
    """What the report says of the maps; None without a propagator."""
    settings = run.config.propagator
    if settings is None:
        return None
    how = f"The weights' variance is that of {run.config.posterior.name.replace('_', ' ')}."
    mask = score_mask(run)
    if mask is not None:
        how += f" The score counts {int(mask.sum())} of {mask.numel()} pixels, those of {settings.mask}."
    return MapsEntry(
        propagator=settings.name,
        solver=run.config.sampler.name,
        unit="share of the image's range",
        score_reduce=settings.reduce,
        evaluations_ratio=1 + float(propagated(run)["evaluations"].mean()) / run.sampler.evaluations(run.model),
        how=how,
    )
