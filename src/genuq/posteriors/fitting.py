"""Fitting a last-layer posterior by streaming images through the frozen network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from genuq.data import Dataset, as_dataset
from genuq.errors import ConfigurationError, did_you_mean, require_finite
from genuq.models import GenerativeModel
from genuq.posteriors.capture import active_outputs, head_features, residuals_at_head
from genuq.posteriors.control import IsotropicNoise
from genuq.posteriors.diagonal import DiagonalLaplace
from genuq.posteriors.exact import ExactLastLayerLaplace
from genuq.posteriors.last_layer import LastLayerPosterior
from genuq.posteriors.scale import ChosenScale, HeldOutSums, ScaleOptions, choose_scale, isotropic_prior
from genuq.randomness import FITTING, HELD_OUT, generator, generators, normal, uniform

Progress = Callable[[int, int], None]
KINDS: dict[str, type[LastLayerPosterior]] = {
    kind.kind: kind for kind in (ExactLastLayerLaplace, DiagonalLaplace, IsotropicNoise)
}


class RegressionBatch(NamedTuple):
    """A batch of the regression problem that the network was trained on."""

    x: Tensor
    t: Tensor
    y: Tensor | None
    target: Tensor


@dataclass(frozen=True)
class FitResult:
    """A finalised posterior, the scale's reasons, and what the fit cost.

    Attributes:
        seconds: of the whole pass over the fitting images.
        forward_seconds: of the network's forward passes in it.
    """

    posterior: LastLayerPosterior
    chosen: ChosenScale
    held_out: HeldOutSums
    seconds: float
    forward_seconds: float


def regression_batches(
    model: GenerativeModel, dataset: Dataset, indices: Sequence[int], batch_size: int, seed: int, stream: str
) -> Iterator[RegressionBatch]:
    """Noisy inputs and targets; times stratified over all `indices`, noise keyed by image, whatever the batch size."""
    strata = torch.randperm(len(indices), generator=generator(seed, 0, f"{stream}, strata"))
    for start in range(0, len(indices), batch_size):
        chosen = list(indices[start : start + batch_size])
        images, classes = dataset.batch(chosen)
        sources = generators(seed, chosen, stream)
        t = (strata[start : start + len(chosen)] + uniform(sources)) / len(indices)
        noise = normal(sources, model.latent_shape).to(model.device)
        with torch.no_grad():
            latents = model.autoencoder.encode(images.to(model.device))
        x_t, target = model.target(latents, noise, t.to(model.device))
        y = classes.to(model.device) if model.num_classes else None
        yield RegressionBatch(x_t, t.to(model.device, x_t.dtype), y, target)


def build(name: str, model: GenerativeModel, active: Tensor | None = None, **options: str) -> LastLayerPosterior:
    """An empty posterior called `name` over the model's head.

    Raises:
        ConfigurationError: no posterior has this name, or it takes no such option.
    """
    if name not in KINDS:
        raise ConfigurationError(f"posterior.name = '{name}' is not a posterior." + did_you_mean(name, KINDS))
    try:
        return KINDS[name](model.head, active, **options)
    except TypeError as error:
        raise ConfigurationError(f"posterior '{name}' cannot be built from {sorted(options)}: {error}.") from error


def fit(
    model: GenerativeModel,
    training_data: Dataset | Tensor,
    kind: str = "exact_laplace",
    images: int = 4096,
    held_out: int = 512,
    batch_size: int = 128,
    seed: int = 0,
    scale: ScaleOptions | None = None,
    progress: Progress | None = None,
    **options: str,
) -> FitResult:
    """Fit a last-layer posterior to a model that genuq may never have seen, and choose its scale.

    Args:
        model: the model, trained.
        training_data: what it was trained on, a data set or a tensor (`genuq.data.as_dataset`); the first images of a
            seeded permutation fit, the next are held out.
        kind: `exact_laplace`, `diagonal_laplace` or `isotropic`.
        images: for the curvature; one (t, eps) each.
        held_out: for the noise variance and the temperature; never among the former. May be 0 where both are given.
        scale: entries to fix by hand.
        progress: called with (images done, images in all).
        options: of the posterior, for instance `convention`.

    Raises:
        ConfigurationError: an unsuitable head, a scale that cannot be chosen, or more images asked for than there are.
        NonFiniteError: NaN or infinite weights or activations.
    """
    dataset, scale, total = as_dataset(training_data), scale or ScaleOptions(), images + held_out
    _check_counts(dataset, images, held_out, batch_size, scale)
    model.check_weights()
    if kind == IsotropicNoise.kind:
        isotropic_prior(scale)  # refuses now what could not be chosen after the pass over the images
    order = torch.randperm(len(dataset), generator=generator(seed, 0, "fitting order"))[:total].tolist()
    model.eval()
    first = next(regression_batches(model, dataset, order[:2], 2, seed, FITTING))
    posterior = build(kind, model, active_outputs(model, first.x, first.t, first.y), **options)
    started, forward = time.perf_counter(), 0.0
    for batch in regression_batches(model, dataset, order[:images], batch_size, seed, FITTING):
        forward += _accumulate(model, posterior, batch)
        if progress:
            progress(posterior.n_seen, total)
    seconds = time.perf_counter() - started
    sums = HeldOutSums(posterior.head.inputs)
    for batch in regression_batches(model, dataset, order[images:], batch_size, seed, HELD_OUT):
        prediction, features, output = head_features(model, batch.x, batch.t, batch.y)
        sums.update(posterior, features, *residuals_at_head(prediction, batch.target, output))
        if progress:
            progress(images + sums.images, total)
    chosen = choose_scale(posterior, sums, len(dataset), scale)
    return FitResult(posterior.finalise(chosen.scale), chosen, sums, seconds, forward)


def _check_counts(dataset: Dataset, images: int, held_out: int, batch_size: int, scale: ScaleOptions) -> None:
    least = {"images": (images, 1), "held_out": (held_out, int(scale.needs_held_out)), "batch_size": (batch_size, 1)}
    for name, (value, lowest) in least.items():
        if value < lowest:
            raise ConfigurationError(f"posterior.{name} = {value}; it must be at least {lowest}.")
    if images + held_out > len(dataset):
        raise ConfigurationError(
            f"posterior.images + posterior.held_out = {images + held_out}, but {dataset.name} has {len(dataset)}. "
            "Lower them."
        )


def _accumulate(model: GenerativeModel, posterior: LastLayerPosterior, batch: RegressionBatch) -> float:
    """Add one batch to the sums; returns the seconds of the forward pass."""
    started = time.perf_counter()
    prediction, features, output = head_features(model, batch.x, batch.t, batch.y)
    require_finite(features, f"the input of model.head = '{model.head_name}'", "Check the weights and the data.")
    seconds = time.perf_counter() - started  # after the check, which waits for the device
    residuals = None
    if posterior.needs == "residuals":
        _, residuals = residuals_at_head(prediction, batch.target, output)
    posterior.update(features, residuals)
    return seconds
