"""The stage that propagates: the uncertainty of every pixel of the run's samples, beside their sampling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genuq import posteriors, propagators
from genuq.display import Display
from genuq.errors import ConfigurationError
from genuq.identity import neutral
from genuq.models import GenerativeModel, Sampler, with_filled_head
from genuq.pipeline.configured import (
    architecture_of,
    build_sampler,
    is_latent,
    model_inputs,
    sampler_inputs,
)
from genuq.pipeline.inputs import ModelInputs, PartInputs, SamplerInputs, part_inputs
from genuq.pipeline.masks import mask_of, score_mask
from genuq.pipeline.posteriors import evaluated, load_posterior
from genuq.pipeline.run import Run
from genuq.pipeline.sharded import deal
from genuq.pipeline.stage import Stage, upstream
from genuq.posteriors import Posterior
from genuq.propagators import Propagator, pixel_map, propagate
from genuq.propagators.propagator import require_affine
from genuq.scores import ScorePart
from genuq.store.artefact import StageFolder
from genuq.store.shards import read_shards
from genuq.store.upstream import FileContent, Upstream

SHARED = ("name", "reduce", "share", "mask", "map_method", "map_draws")  # of all propagators; the rest is its own


@dataclass(frozen=True)
class DecodedMap:
    """How the latents' variance becomes that of pixels.

    Attributes:
        method, draws: as in `genuq.propagators.pixel_map`.
    """

    method: str
    draws: int


@dataclass(frozen=True)
class PropagateInputs:
    """What propagated variances depend on.

    Attributes:
        decoded_map: of latent models; the pixels of others are what is propagated.
    """

    model: ModelInputs
    fit: Upstream
    sampler: SamplerInputs
    propagator: PartInputs
    decoded_map: DecodedMap | None


class Propagate(Stage[PropagateInputs]):
    """Leaves shard-START-STOP.safetensors: index, mean and variance of the final latents, the network evaluations that
    each sample took beside those of sampling, and the map of each image (standard deviations in its units, [-1, 1];
    absent where variances are negative).

    The images are bit for bit those of the sample stage. Without a propagator it does nothing and leaves nothing.
    """

    name = "propagate"
    version = 3
    shared = together = True

    def inputs(self, run: Run) -> PropagateInputs:
        settings = run.config.propagator
        latent = is_latent(run)
        return PropagateInputs(
            model=model_inputs(run),
            fit=upstream(run, "fit"),
            sampler=sampler_inputs(run),
            propagator=propagator_inputs(run),
            decoded_map=DecodedMap(settings.map_method, settings.map_draws) if latent else None,
        )

    def applies(self, run: Run) -> bool:
        return run.config.propagator is not None

    def work(self, inputs: PropagateInputs, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        trained = inputs.model.open()
        posterior = load_posterior(inputs.fit.path, trained)
        model = evaluated(inputs.sampler.engine, trained, [posterior])
        sampler = inputs.sampler.build(model)

        def make(indices: list[int], advance: Callable[[int], None]) -> dict[str, Tensor]:
            tensors = propagate_shard(inputs, model, posterior, sampler, indices)
            advance(len(indices))
            return tensors

        deal(inputs.sampler, folder, make, display, "propagating")
        return {"propagator": inputs.propagator.name, **inputs.sampler.engine.notes}


def propagate_shard(
    inputs: PropagateInputs, model: GenerativeModel, posterior: Posterior, sampler: Sampler, indices: list[int]
) -> dict[str, Tensor]:
    """Mean, variance, evaluations and map of the samples `indices`."""
    propagator = propagators.build(inputs.propagator.name, **inputs.propagator.options)
    result = propagate(model, posterior, sampler, indices, propagator, sampler.seed)
    tensors = {
        "index": torch.tensor(indices),
        "mean": result.mean.float(),
        "variance": result.variance,
        "evaluations": torch.full((len(indices),), result.evaluations - result.plain_evaluations, dtype=torch.float64),
    }
    if bool((result.variance >= 0).all()):
        how = {} if inputs.decoded_map is None else vars(inputs.decoded_map)
        deviation = pixel_map(model, result.mean, result.variance, **how, seed=sampler.seed, indices=indices)
        tensors["map"] = deviation.float()
    return tensors


def propagator_inputs(run: Run) -> PartInputs:
    """The run's propagator, with the options that are its own."""
    settings = run.plain("propagator")["propagator"]
    own = {key: value for key, value in settings.items() if key not in SHARED}
    return part_inputs(propagators.PROPAGATORS.get(settings["name"]), own)


def propagator_of(run: Run) -> Propagator:
    """The run's propagator.

    Raises:
        ConfigurationError: options that it does not take, or that cannot work.
    """
    part = propagator_inputs(run)
    return propagators.build(part.name, **part.options)


def check_propagator(run: Run) -> None:
    """Raise ConfigurationError for a propagator that cannot treat the sampler or the posterior."""
    settings = run.config.propagator
    score_mask(run)
    require_variance(run, settings.name, "propagator")
    many, made = settings.get("draws"), run.config.posterior.draws
    if many is not None and many > made and posteriors.POSTERIORS[run.config.posterior.name].source == "weights":
        raise ConfigurationError(
            f"propagator.draws = {many}, but the run's {run.config.posterior.name} is asked for {made}: lower "
            "propagator.draws, or raise posterior.draws."
        )
    kind = posteriors.POSTERIORS[run.config.posterior.name]
    if kind.scope == "head":  # what the propagator asks of the stages, asked before there is a posterior
        model = with_filled_head(architecture_of(run))
        stand_in = posteriors.IsotropicNoise(model.head).finalise(posteriors.Scale(1.0, 1.0, 1.0))
        propagator_of(run).check(model, stand_in, build_sampler(run).stages(model))


def default_propagator(name: str, draws: int) -> Propagator:
    """A propagator with its defaults; one that follows draws follows `draws` of them."""
    follows = "draws" in propagators.PROPAGATORS.get(name).option_names
    return propagators.build(name, **({"draws": draws} if follows else {}))


def require_variance(run: Run, name: str, key: str) -> None:
    """Raise ConfigurationError where a propagator needs a closed-form variance that the run's posterior has not, or
    affine steps that the run's sampler does not make.
    """
    require_affine(name, build_sampler(run))
    part, layers = posteriors.POSTERIORS.get(run.config.posterior.name), run.config.posterior.get("layers")
    over_head = issubclass(part.resolve(), posteriors.KFACLaplace) and layers is not None and list(layers) == ["head"]
    if propagators.PROPAGATORS.get(name, key).needs_variance and not (part.closed_form or over_head):
        raise ConfigurationError(
            f"{key} = '{name}' needs a closed-form variance, which posterior '{part.name}' does not have. Choose "
            "coherent, which needs only draws, or a posterior over the last layer."
        )


@dataclass(frozen=True)
class MaskInputs:
    """The pixels that a score counts.

    Attributes:
        file: an image, white where a pixel counts.
        model: whose latents or images it has the size of.
        name: what the configuration calls it.
    """

    file: FileContent
    model: ModelInputs
    name: str = neutral()

    def open(self) -> Tensor:
        """bool (1, h, w), on the latents."""
        model = self.model.open()
        return mask_of(self.file.path, tuple(model.latent_shape), tuple(model.shape))


def mask_inputs(run: Run) -> MaskInputs | None:
    """The run's mask; None where all pixels count."""
    name = None if run.config.propagator is None else run.config.propagator.mask
    if name is None:
        return None
    return MaskInputs(FileContent(run.sha256(name), Path(name).expanduser()), model_inputs(run), name)


def reduction_options(run: Run, score: ScorePart) -> dict[str, Any]:
    """What the configuration of the propagator says of a score of the variances."""
    settings = run.plain("propagator")["propagator"]
    chosen = {option: settings[option] for option in score.option_names if option in settings}
    if score.builtin and chosen.get("reduce") != "top":
        chosen.pop("share", None)  # of the pixels that `top` takes
    return chosen


def propagated(folder: Path) -> dict[str, Tensor]:
    """What the finished stage knows of every sample; no map where some variances are negative."""
    return read_shards(folder)


def shown_maps(folder: Path) -> Tensor | None:
    """Standard deviation of each pixel in shares of the image's range, (N, H, W): root mean square over colours.

    Args:
        folder: artefact of the propagation of images; None of its shards has a map where some variances are negative.
    """
    result = propagated(folder)
    if "map" not in result:
        return None
    return result["map"].double().square().mean(1).sqrt().float() / 2
