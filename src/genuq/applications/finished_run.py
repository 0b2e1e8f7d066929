"""What an application may read of a finished run, and before it begins: all that a runner receives."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from genuq.applications.outcome import Judge, Judgement, Outcome, Replicates
from genuq.data import Dataset
from genuq.likelihoods import Likelihood
from genuq.models import GenerativeModel, Sampler
from genuq.posteriors import Posterior
from genuq.propagators import Propagator

Made = tuple[Outcome, dict[str, Tensor]]
EXAMPLES = 24  # that a report shows


class Sampling(Protocol):
    """What new samples are made with: of a `FinishedRun`, and of a plan, which counts what the making evaluates.

    Attributes:
        model, sampler, posterior, likelihood: the run's own.
        seed, draws: as configured.
    """

    @property
    def model(self) -> GenerativeModel: ...
    @property
    def sampler(self) -> Sampler: ...
    @property
    def posterior(self) -> Posterior: ...
    @property
    def likelihood(self) -> Likelihood: ...
    @property
    def seed(self) -> int: ...
    @property
    def draws(self) -> int: ...

    def propagator(self, name: str) -> Propagator:
        """A propagator with its defaults; one that follows draws follows the run's."""


class FinishedRun(Sampling, Protocol):
    """A run whose samples are made, scored and judged; its posterior is fitted.

    Attributes:
        training_set: what the model was trained on.
        samples: `image` (N, ...) float, `class`, and the draws by the names of their posteriors.
        scores: every column of the run's table, (N,).
        score: that of the run's own score.
        classes: (N,) asked for; None where the model knows none.
        real: the judge's features of real samples (R, D).
        judge: says of any samples what it thinks of them.
        judgement: what it thinks of the run's own.
        replicates: of the bootstrap.
        k, half_samples, random_repeats: as configured.
        functional: name of the score of draws.
    """

    @property
    def training_set(self) -> Dataset: ...
    @property
    def samples(self) -> Mapping[str, Tensor]: ...
    @property
    def scores(self) -> Mapping[str, Tensor]: ...
    @property
    def score(self) -> Tensor: ...
    @property
    def classes(self) -> Tensor | None: ...
    @property
    def real(self) -> Tensor: ...
    @property
    def judge(self) -> Judge: ...
    @property
    def judgement(self) -> Judgement: ...
    @property
    def replicates(self) -> Replicates: ...
    @property
    def k(self) -> int: ...
    @property
    def half_samples(self) -> int: ...
    @property
    def random_repeats(self) -> int: ...
    @property
    def functional(self) -> str: ...

    def space(self, name: str) -> tuple[str, Callable[[Tensor], Tensor]]:
        """(a space's own name, images in [-1, 1] to features): `scoring`, or the name of an extractor."""

    def classes_at(self, index: Tensor) -> Tensor | None:
        """Those of some samples; None where there are none."""

    def shown(self, samples: Tensor) -> Tensor:
        """Samples as a person sees them: uint8 images, or points."""

    def examples(self, index: Tensor, images: Mapping[str, Tensor], mask: Tensor | None = None) -> dict[str, Tensor]:
        """The first examples as a person sees them, each with the judge's first measure."""

    def in_batches(self, indices: Sequence[int], kind: type, make: Callable[[list[int]], Any]) -> Any:
        """A `kind`, a dataclass of tensors, of all the samples, made a batch at a time; what a killed run had finished
        is found again."""

    def busy(self, what: str) -> contextlib.AbstractContextManager[object]:
        """Shows that something of unknown length runs."""


class UnsampledRun(Protocol):
    """What is known before anything is sampled: the model, untrained where the run trains it, and what was asked for.

    Attributes:
        count: samples of the run.
    """

    @property
    def model(self) -> GenerativeModel: ...
    @property
    def sampler(self) -> Sampler: ...
    @property
    def count(self) -> int: ...
