"""Fitting a posterior by streaming images through the frozen network, and choosing its scale."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genuq.data import Dataset, as_dataset
from genuq.errors import ArtefactError, ConfigurationError
from genuq.files import read_tensors
from genuq.identity import neutral
from genuq.models import GenerativeModel, evaluating
from genuq.models.compiled import original, require_uncompiled
from genuq.parts.bounds import Count, Seed, WholeNumber, check, check_fields
from genuq.posteriors.base import CurvaturePosterior, Posterior
from genuq.posteriors.control import IsotropicNoise
from genuq.posteriors.curvature.capture import active_outputs, check_layers, unsuitable_layers
from genuq.posteriors.curvature.layer_choice import ALL, require_untied
from genuq.posteriors.curvature.layers import LayersPosterior
from genuq.posteriors.dropout import MCDropout, fed_by_dropout
from genuq.posteriors.fitting.doubts import READ, doubts_about, doubts_of_reading
from genuq.posteriors.fitting.held_out import HeldOutSums
from genuq.posteriors.fitting.passes import CurvaturePass, HeldOutPass, Pass, PassRunner, PredictivePass
from genuq.posteriors.fitting.reading import Reading, warn_of
from genuq.posteriors.fitting.regression import RegressionBatch, RegressionBatches, regress
from genuq.posteriors.fitting.scale import (
    ChosenScale,
    ScaleOptions,
    by_prediction,
    choose_scale,
    isotropic_prior,
    noise_weights,
)
from genuq.posteriors.network_noise import NetworkNoise
from genuq.posteriors.register import POSTERIORS
from genuq.randomness import FITTING, HELD_OUT, generator

HEAD = "head"  # among the layers asked for: the model's head, whatever it is called
Progress = Callable[[int, int], None]
# Does one pass over all batches, in this process or in many; the name identifies it within the fit.
Runner = Callable[[Pass, RegressionBatches, str], None]


@dataclass(frozen=True)
class FitSettings:
    """How to fit a posterior.

    Attributes:
        kind: a name of `POSTERIORS`.
        images: for the curvature; the first ones of a seeded permutation.
        held_out: for the noise variance, the temperature and the predictive criterion; never among the former. May be
            0 where nothing has to be learnt from them.
        repeats: how many (t, eps) each image gets, times stratified over all.
        batch_size: rows at a time.
        time_bins: of the noise variance over t; 1 means one variance. More need a posterior over the head.
        fisher_draws: Monte-Carlo draws for each row, for posteriors over several layers.
        predictive_draws: weight draws for the predictive criterion, where the variance has no closed form.
        seed: keys the permutation, times, noise and draws.
        scale: entries of the scale to fix by hand.
        options: of the posterior, for instance `convention`.
    """

    kind: str = "exact_laplace"
    images: Count = 4096
    held_out: WholeNumber = 512
    repeats: Count = 1
    batch_size: Count = neutral(64)
    time_bins: Count = 1
    fisher_draws: Count = 1
    predictive_draws: Count = 4
    seed: Seed = 0
    scale: ScaleOptions = field(default_factory=ScaleOptions)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, "posterior")

    @property
    def streams(self) -> bool:
        """Whether the kind is fitted to a stream of images; of others only a forward pass is tried."""
        return POSTERIORS.get(self.kind).source == "images"

    @property
    def fitting_images(self) -> int:
        return self.images if self.streams else 1

    @property
    def total_images(self) -> int:
        return self.fitting_images + self.held_out

    @property
    def rows(self) -> int:
        """Rows of all passes, for the progress."""
        held_out_passes = 2 if self.scale.criterion == "predictive" else 1
        return self.repeats * (self.images * self.streams + self.held_out * held_out_passes)

    def check(self, dataset: Dataset, key: str = "posterior") -> None:
        """Raise ConfigurationError for counts that cannot work, naming the key (`key` is where the settings stand)."""
        if self.scale.needs_held_out:
            check(f"{key}.held_out", self.held_out, Count)
        if self.fitting_images + self.held_out > len(dataset):
            asked = f"{key}.images + {key}.held_out" if self.streams else f"{key}.held_out"
            raise ConfigurationError(
                f"{asked} = {self.total_images}, but {dataset.name} has {len(dataset)}. Lower them."
            )
        if self.time_bins > 1 and not self.held_out:
            raise ConfigurationError(f"{key}.time_bins = {self.time_bins} needs held-out images: raise {key}.held_out.")

    def permutation(self, dataset: Dataset) -> tuple[list[int], list[int]]:
        """(fitting images, held-out images)."""
        source = generator(self.seed, 0, "fitting order")
        order = torch.randperm(len(dataset), generator=source)[: self.total_images].tolist()
        return order[: self.fitting_images], order[self.fitting_images :]


@dataclass(frozen=True)
class FitResult:
    """A finalised posterior, the scale's reasons, and what the fit cost.

    Attributes:
        seconds: of the whole pass over the fitting images.
        forward_seconds: of the network's forward passes in it.
        reading: how the network's answers fit their targets; None without held-out images, or with few.
        doubts: why the fit may say little, a sentence each.
    """

    posterior: Posterior
    chosen: ChosenScale
    held_out: HeldOutSums
    seconds: float
    forward_seconds: float
    reading: Reading | None = None
    doubts: tuple[str, ...] = ()


def build(name: str, model: GenerativeModel, active: Tensor | None = None, **options: Any) -> Posterior:
    """An empty posterior called `name` over the model's head or network, as its kind wants.

    Args:
        active: for posteriors over the head, its output channels that reach the prediction.

    Raises:
        ConfigurationError: no posterior has this name, or it takes no such option.
    """
    part = POSTERIORS.get(name)
    if part.scope == "head":
        return part.make(model.head, active, **options)
    if options.get("layers") in (HEAD, [HEAD]):
        options["layers"] = [model.head_name]
    return part.make(model.network, **options)


def isotropic_like(posterior: Posterior, network: nn.Module, kind: str | None = None) -> Posterior:
    """Isotropic weight noise on what a finalised posterior moves, of the same size: its control.

    Args:
        network: the whole network that the posterior moves, or moves a part of.
        kind: `isotropic` (over the head) or `isotropic_network` (every parameter tensor its own size); None takes
            the one that fits.

    Raises:
        ConfigurationError: noise on the head alone for a posterior that moves more.
    """
    if kind == IsotropicNoise.kind or (kind is None and posterior.scope == "head"):
        return IsotropicNoise.matched_to(posterior)
    noise = NetworkNoise(network).matched_to(posterior)
    return noise.finalise(replace(posterior.require_final(), temperature=1.0))


def load(path: str | Path, model: GenerativeModel) -> Posterior:
    """A saved posterior of any kind, for the model that it was fitted to.

    Raises:
        ArtefactError: truncated, of another format or kind, or fitted to other weights.
    """
    name = read_tensors(path)[1].get("kind", "")
    if name not in POSTERIORS:
        raise ArtefactError(
            f"{path} holds no posterior that this genuq knows (kind '{name}'), and no file may name a class. Install "
            "the package that brings it, or name its class yourself (genuq.parts.plugged); else fit it again."
        )
    part = POSTERIORS[name]
    return part.resolve().load(path, model.head if part.scope == "head" else model.network)


def fit(
    model: GenerativeModel,
    training_data: Dataset | Tensor,
    kind: str = "exact_laplace",
    images: int = 4096,
    held_out: int = 512,
    batch_size: int = 128,
    seed: int = 0,
    scale: ScaleOptions | None = None,
    repeats: int = 1,
    time_bins: int = 1,
    fisher_draws: int = 1,
    progress: Progress | None = None,
    labels: Tensor | Sequence[int] | None = None,
    **options: Any,
) -> FitResult:
    """Fit a posterior to a model that genuq may never have seen, and choose its scale.

    Args:
        model: the model, trained. Of one that torch.compile gave, the module within it is worked on.
        training_data: what it was trained on, a data set or a tensor (`genuq.data.as_dataset`).
        progress: called with (rows done, rows in all).
        labels: (N,) classes of a tensor's items, which a model that knows classes needs; a data set has its own.
        kind, images, held_out, batch_size, seed, scale, repeats, time_bins, fisher_draws: see `FitSettings`.
        options: of the posterior, for instance `convention`.

    Warns:
        DoubtfulFitWarning: the network's answers do not fit their targets, as where it is read with another process,
            scale or labels than it was trained with; or it was not trained to give them.
    Raises:
        ConfigurationError: an unsuitable head, a scale that cannot be chosen, more images asked for than there are, or
            data of another shape or other classes than the model's.
        DataError: data of another type or range, or a tensor without the labels that the model needs.
        NonFiniteError: NaN or infinite weights or activations.
    """
    settings = FitSettings(
        kind=kind,
        images=images,
        held_out=held_out,
        repeats=repeats,
        batch_size=batch_size,
        time_bins=time_bins,
        fisher_draws=fisher_draws,
        seed=seed,
        scale=scale or ScaleOptions(),
        options=options,
    )
    model = original(model)
    runner = PassRunner(model, advance=counting(progress, settings.rows))
    warn_of(known := doubts_about(model))
    fitted = fit_by(runner.run, model, as_dataset(training_data, labels, num_classes=model.data_classes), settings)
    warn_of(doubt for doubt in fitted.doubts if doubt not in known)
    return fitted


def counting(progress: Progress | None, total: int) -> Callable[[int], None]:
    """Adds up the rows that it is called with, and passes on (rows done, rows in all)."""
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        if progress:
            progress(done, total)

    return advance


def fit_by(run: Runner, model: GenerativeModel, dataset: Dataset, settings: FitSettings) -> FitResult:
    """The passes of a fit in their order, each done by `run`: curvature, held-out images, predictive density."""
    if POSTERIORS.get(settings.kind).source == "weights":
        raise ConfigurationError(
            f"posterior '{settings.kind}' is made of whole sets of weights, not fitted to a stream of images: use "
            "genuq.finetune_ensemble, or update an empty one with each member's weights."
        )
    settings.check(dataset)
    require_uncompiled(model)
    model.check_data(dataset)
    model.check_weights()
    if settings.kind == IsotropicNoise.kind:
        isotropic_prior(settings.scale)  # refuses now what could not be chosen after the pass over the images
    with evaluating(model):
        return _fit(run, model, dataset, settings)


def _fit(run: Runner, model: GenerativeModel, dataset: Dataset, settings: FitSettings) -> FitResult:
    fitting, held_out = settings.permutation(dataset)
    empty = empty_posterior(model, dataset, fitting, settings)
    batches = _batches(model, dataset, settings)
    posterior, curvature, seconds = empty(), None, 0.0
    if isinstance(posterior, CurvaturePosterior):
        curvature = CurvaturePass(empty, settings.time_bins, settings.seed, settings.fisher_draws)  # type: ignore[arg-type]
        started = time.perf_counter()
        run(curvature, batches(fitting, FITTING), "curvature")
        seconds = time.perf_counter() - started
        posterior = curvature.posteriors[0]
    judged = HeldOutPass(posterior, settings.time_bins, settings.seed)
    run(judged, batches(held_out, HELD_OUT), "held-out")
    if curvature is not None and settings.time_bins > 1:
        noise = settings.scale.observation_noise or judged.held_out.residual_variance
        posterior = curvature.combined(noise_weights(judged.held_out, noise))
    chosen = choose_scale(posterior, judged.held_out, len(dataset), settings.scale)
    if settings.scale.criterion == "predictive":
        noise_T = torch.tensor(chosen.noise_profile or [chosen.scale.observation_noise], dtype=torch.float64)
        predicted = PredictivePass(posterior.finalise(chosen.scale), noise_T, settings.predictive_draws, settings.seed)
        run(predicted, batches(held_out, HELD_OUT), "predictive")
        chosen = by_prediction(chosen, predicted.predictive)
    forward, reading = curvature.forward_seconds if curvature else 0.0, judged.reading.reading()
    doubts = doubts_of_reading(model, reading, batches(held_out[:READ], HELD_OUT))
    return FitResult(posterior.finalise(chosen.scale), chosen, judged.held_out, seconds, forward, reading, doubts)


def empty_posterior(
    model: GenerativeModel, dataset: Dataset, images: Sequence[int], settings: FitSettings
) -> Callable[[], Posterior]:
    """Makes empty posteriors of the kind asked for. What is wrong with it is raised here, after two forward passes."""
    part, active, options = POSTERIORS.get(settings.kind), None, dict(settings.options)
    kind = part.resolve()
    if part.scope == "network" and settings.time_bins > 1:
        raise ConfigurationError(
            f"posterior.time_bins = {settings.time_bins}, but '{settings.kind}' cannot weight its sums by time: set 1."
        )
    batches = RegressionBatches(dataset, images[:2], model.latent_shape, 2, settings.seed, FITTING)
    first = regress(model, batches[0])
    with torch.no_grad():
        model.predicted(first.x, first.t, first.y)
    if part.scope == "head":
        require_untied(model.network, model.head_name, "model.head")
        active = active_outputs(model, first.x, first.t, first.y)
    if kind is MCDropout and not options:
        options["rates"] = fed_by_dropout(model, first.x, first.t, first.y)
    if issubclass(kind, LayersPosterior):
        return _over_layers(settings.kind, model, first, options)
    return functools.partial(build, settings.kind, model, active, **options)


def _over_layers(
    kind: str, model: GenerativeModel, first: RegressionBatch, options: dict[str, Any]
) -> Callable[[], LayersPosterior]:
    """As `empty_posterior`; layers that only a pattern matched and that cannot be covered are left out."""

    def empty() -> LayersPosterior:
        posterior = build(kind, model, **options)
        assert isinstance(posterior, LayersPosterior)
        posterior.excluded |= left_out
        return posterior

    left_out: dict[str, str] = {}
    given = options.get("layers") or ALL
    asked = [given] if isinstance(given, str) else list(given)
    if asked == [HEAD]:
        asked = [model.head_name]
    names = empty().layer_names
    found = unsuitable_layers(model, names, first.x, first.t, first.y)
    left_out = {name: reason for name, reason in found.items() if name not in asked}
    if 0 < len(left_out) < len(names):
        options["layers"] = [*asked, *(f"!{name}" for name in left_out)]
    check_layers(model, empty().layer_names, first.x, first.t, first.y)
    return empty


def _batches(
    model: GenerativeModel, dataset: Dataset, settings: FitSettings
) -> Callable[[Sequence[int], str], RegressionBatches]:

    def make(images: Sequence[int], stream: str) -> RegressionBatches:
        size, seed, repeats = settings.batch_size, settings.seed, settings.repeats
        made = RegressionBatches(dataset, images, model.latent_shape, size, seed, stream, repeats)
        made.total = settings.rows
        return made

    return make
