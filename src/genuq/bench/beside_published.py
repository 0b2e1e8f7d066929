"""The whole job by the published procedures and by genuq: the same network, data, samples, features and machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import Tensor

from genuq import extractors
from genuq.bench import published
from genuq.bench.published import LAPLACE_DIFFUSERS, MODULES, Task
from genuq.bench.rows import Row, not_run, side_by_side
from genuq.data import fashion_mnist
from genuq.extractors import Extractor
from genuq.likelihoods import Likelihood, SemanticLikelihood
from genuq.models import GenerativeModel, Sampler, sample, to_unit
from genuq.models.checkpoints import load_reference
from genuq.posteriors import DiagonalLaplace, Scale
from genuq.posteriors.fitting.passes import CurvaturePass
from genuq.posteriors.fitting.regression import RegressionBatch, regression_batches
from genuq.propagators import Paper, Propagator, Trajectory, propagate
from genuq.scores import regenerate
from genuq.solvers import Euler

DRAWS, HEAD_DRAWS, STATES = 5, 100, 10  # the published ones: regenerations; of the head a step; states a step
OBSERVATION_VARIANCE = 1e-3
FITTED, SCORED, MAPPED = "the head's diagonal Fisher", "six samplings and their entropy", "maps of variance"
INSTALL = 'not installed: pip install "genuq[peers]"'


@dataclass(frozen=True)
class Size:
    """Images of the fit, samples, those with maps, and solver steps."""

    images: int
    samples: int
    maps: int
    steps: int
    rounds: int


FULL, QUICK = Size(512, 64, 16, 20, 3), Size(64, 4, 2, 4, 1)


def rows(size: Size) -> list[Row]:
    """A row for each side of the fit, the scores and the maps, or the reason that there are none."""
    if absent := [name for name in MODULES if find_spec(name) is None]:
        reason = f"{', '.join(absent)} {INSTALL}"
        return [not_run(what, reason, LAPLACE_DIFFUSERS) for what in (FITTED, SCORED, MAPPED)]
    model, data = load_reference("flow_matching"), fashion_mnist("train")
    batches = list(regression_batches(model, data, range(size.images), 64, 0, "bench"))
    return Comparison(model, batches, size, extractors.build("efficientnet", image_size=64)).rows()


class Comparison:
    """Both sides of the job on one model.

    Args:
        batches: of the fit.
        extractor: of the features that both sides compare.
    """

    def __init__(
        self, model: GenerativeModel, batches: list[RegressionBatch], size: Size, extractor: Extractor
    ) -> None:
        self.model, self.batches, self.size = model, batches, size
        self.sampler = Sampler(Euler(), steps=size.steps)
        self.likelihood: Likelihood = SemanticLikelihood(extractor, OBSERVATION_VARIANCE)
        self.scores: dict[str, Tensor] = {}

    def rows(self) -> list[Row]:
        return [*self.fits(), *self.entropies(), *self.maps()]

    # The fit

    def fits(self) -> list[Row]:
        what = f"{FITTED}, {self.size.images} images"
        return self._compared(what, self._their_fit, {what + ", genuq": self._our_fit})

    def _their_fit(self) -> Mapping[str, float]:
        fitted = published.fitted_head(self.model, self.batches)
        return {"mean curvature": float(fitted.H.mean())}

    def _our_fit(self) -> Mapping[str, float]:
        return {"mean curvature": float(self._accumulated().curvature.mean())}

    def _accumulated(self) -> DiagonalLaplace:
        fit = CurvaturePass(lambda: DiagonalLaplace(self.model.head, convention="laplace_torch"))
        for batch in self.batches:
            fit.add(self.model, batch)
        (posterior,) = fit.posteriors
        assert isinstance(posterior, DiagonalLaplace)
        return posterior

    @cached_property
    def theirs(self) -> Any:
        return published.fitted_head(self.model, self.batches)

    @cached_property
    def ours(self) -> DiagonalLaplace:
        """At laplace-torch's default scale: unit noise, unit prior precision, as many images as were seen."""
        return self._accumulated().finalise(Scale(self.size.images, observation_noise=1.0, prior_precision=1.0))

    def task(self, samples: int) -> Task:
        noise = self.sampler.initial_noise(self.model, range(samples))
        return Task(
            noise, self.sampler.classes_of(self.model, range(samples)), self.size.steps, self.sampler.batch_size
        )

    # Scores

    def entropies(self) -> list[Row]:
        _ = self.theirs, self.ours
        what = f"{SCORED}, {self.size.samples} samples, {self.size.steps} steps"
        found = self._compared(what, self._their_entropy, {f"{what}, genuq": self._our_entropy})
        agreement = float(spearmanr(self.scores["theirs"], self.scores["ours"]).statistic)
        return [found[0], replace(found[1], values={"Spearman with the published": agreement})]

    def _their_entropy(self) -> Mapping[str, float]:
        draws = self.theirs.sample(DRAWS, generator=torch.Generator().manual_seed(0))
        versions = published.regenerated(self.model, self.task(self.size.samples), draws)
        embeddings = self.likelihood.embed(to_unit(versions))
        self.scores["theirs"] = published.entropy(embeddings, OBSERVATION_VARIANCE)
        return {}

    def _our_entropy(self) -> Mapping[str, float]:
        indices = range(self.size.samples)
        images = sample(self.model, self.sampler, indices)
        versions = regenerate(self.model, self.ours, self.sampler, indices, DRAWS)
        embeddings = self.likelihood.embed(to_unit(torch.cat([images[:, None], versions], 1)))
        self.scores["ours"] = self.likelihood.uncertainty(embeddings)
        return {}

    # Maps

    def maps(self) -> list[Row]:
        what = f"{MAPPED}, {self.size.maps} samples, {self.size.steps} steps"
        ours = {
            f"{what}, the published recursion with genuq's closed form": lambda: self._followed(Paper(states=STATES)),
            f"{what}, genuq's default": lambda: self._followed(Trajectory()),
        }
        return self._compared(f"{what}, {HEAD_DRAWS} draws a step", self._their_maps, ours)

    def _their_maps(self) -> Mapping[str, float]:
        draws = self.theirs.sample(HEAD_DRAWS, generator=torch.Generator().manual_seed(0))
        return {"mean V": float(published.maps(self.model, self.task(self.size.maps), draws, STATES).variance.mean())}

    def _followed(self, propagator: Propagator) -> Mapping[str, float]:
        followed = propagate(self.model, self.ours, self.sampler, range(self.size.maps), propagator)
        return {"mean V": float(followed.variance.mean())}

    def _compared(self, what: str, theirs: Any, ours: Mapping[str, Any]) -> list[Row]:
        """Ratios are to the published side: below 1 is faster."""
        found = side_by_side({what: theirs, **ours}, self.size.rounds, self.model, sides={what: LAPLACE_DIFFUSERS})
        return [found[0], *(replace(row, over=LAPLACE_DIFFUSERS) for row in found[1:])]
