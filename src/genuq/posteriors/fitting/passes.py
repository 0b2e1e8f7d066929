"""The passes of a fit over data: each adds batches to sums that may be stored, restored and added over processes.

`PassRunner` does one. Batch b belongs to process b modulo their number, unpadded, so that the sums over processes are
those of one process.
"""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from genuq import files
from genuq.errors import require_finite
from genuq.models import GenerativeModel
from genuq.parallel import collectives
from genuq.posteriors.base import CurvaturePosterior, Posterior
from genuq.posteriors.curvature.capture import (
    fisher_gradients,
    head_features,
    layer_features,
    residual_gradients,
    residuals_at_head,
)
from genuq.posteriors.curvature.layers import LayersPosterior
from genuq.posteriors.fitting.held_out import DRAWN_FACTORS, FACTORS, HeldOutSums, PredictiveCurve, ridge_of
from genuq.posteriors.fitting.reading import ReadingSums
from genuq.posteriors.fitting.regression import RegressionBatch, RegressionBatches, keyed_normal, regress
from genuq.posteriors.last_layer import LastLayerPosterior
from genuq.posteriors.swap import swapped
from genuq.randomness import FISHER

MIXED = {"16-mixed": torch.float16, "16": torch.float16, "bf16-mixed": torch.bfloat16, "bf16": torch.bfloat16}
BYTES_KEPT = 2**30  # of weight draws, by the predictive criterion


class Pass(Protocol):
    """What accumulates over batches. `sums` of two shards of the batches add up to those of both; from `running` a
    killed pass goes on to the same numbers, to the bit.
    """

    def add(self, model: GenerativeModel, batch: RegressionBatch) -> None: ...

    def sums(self) -> dict[str, Tensor]: ...

    def restore(self, sums: Mapping[str, Tensor]) -> None: ...

    def running(self) -> dict[str, Tensor]: ...

    def resume(self, running: Mapping[str, Tensor]) -> None: ...


@dataclass(frozen=True)
class PassRunner:
    """Does the passes of one fit.

    Args:
        model: the frozen model, on its device.
        folder: for the sums so far, `NAME-RANK-of-COUNT.safetensors`, and the finished ones, `NAME.safetensors`; None
            keeps nothing.
        identity: what the sums depend on; files of another identity are not used.
        precision: as the trainer has it: a mixed one (`bf16-mixed`, `16-mixed`) is autocast to, any other leaves the
            network in that of its weights.
        advance: called with the rows that all processes together have just done.
        save_every: seconds between two saves of the sums so far.
    """

    model: GenerativeModel
    folder: Path | None = None
    identity: str = ""
    precision: str = "32-true"
    advance: Callable[[int], None] = lambda rows: None
    save_every: float = 30.0

    @torch.no_grad()
    def run(self, part: Pass, batches: RegressionBatches, name: str) -> None:
        """Add all batches to `part`, or take the finished sums; afterwards every process holds the sums of all.

        Raises:
            ArtefactError: stored sums are broken.
        """
        finished = self._path(name)
        if self._taken(part.restore, finished) is not None:
            self.advance(len(batches.rows))
            return
        rank, count = collectives.rank_and_count()
        own = self._path(f"{name}-{rank}-of-{count}")
        done = self._taken(part.resume, own) or 0
        if done:
            self.advance(sum(rows_of_round(batches, number, count) for number in range(done)))
        saved = time.monotonic()
        for number in collectives.share(len(batches), done):
            with autocast(self.precision, self.model.device):
                part.add(self.model, regress(self.model, batches[number]))
            self.advance(rows_of_round(batches, done, count))
            done += 1
            if own is not None and time.monotonic() - saved >= self.save_every:
                self._save(part.running(), own, done)
                saved = time.monotonic()
        self._finish(part, name, len(batches))

    def _finish(self, part: Pass, name: str, batches: int) -> None:
        """Add the sums of all processes; the first one keeps them."""
        if collectives.rank_and_count()[1] > 1:
            part.restore(collectives.added(part.sums()))
        if self.folder is not None and collectives.is_first_process():
            self._save(part.sums(), self.folder / f"{name}.safetensors", batches)
            for path in self.folder.glob(f"{name}-*-of-*.safetensors"):
                path.unlink(missing_ok=True)
        collectives.wait_for_all()

    def _path(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{name}.safetensors"

    def _taken(self, take: Callable[[Mapping[str, Tensor]], None], path: Path | None) -> int | None:
        """Take the sums of a file; returns how many batches they hold, None where it is of other work."""
        if path is None or not path.exists():
            return None
        sums, metadata = files.read_tensors(path)
        if metadata.get("identity") != self.identity:
            return None
        take(sums)
        return int(metadata["done"])

    def _save(self, sums: Mapping[str, Tensor], path: Path, done: int) -> None:
        files.write_tensors(path, sums, {"identity": self.identity, "done": str(done)})


def rows_of_round(batches: RegressionBatches, number: int, count: int) -> int:
    """Rows of the batches that `count` processes do while one of them does its batch of this number."""
    first = number * count
    return sum(batches.rows_in(batch) for batch in range(first, min(first + count, len(batches))))


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """The forward passes of a mixed precision; CPUs know bfloat16 alone."""
    if (dtype := MIXED.get(str(precision))) is None:
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if device.type == "cpu" else dtype)


def bins_of(t_B: Tensor, bins: int) -> Tensor:
    """The bin of each time in [0, 1], of `bins` equal ones."""
    return (t_B * bins).long().clamp(0, bins - 1).cpu()


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Outside autocast, where sums belong."""
    with torch.autocast(device.type, enabled=False):
        yield


class Summed(ABC):
    """A pass that adds to its sums as they are."""

    @abstractmethod
    def sums(self) -> dict[str, Tensor]: ...

    @abstractmethod
    def restore(self, sums: Mapping[str, Tensor]) -> None: ...

    def running(self) -> dict[str, Tensor]:
        return self.sums()

    def resume(self, running: Mapping[str, Tensor]) -> None:
        self.restore(running)


class CurvaturePass:
    """Sums of the curvature, one posterior for each bin of time.

    Args:
        empty: makes an empty posterior.
        bins: T; more than one only for posteriors over the head, whose sums may be weighted afterwards.
        seed: keys the Monte-Carlo Fisher's draws.
        fisher_draws: of the prediction's noise for each row.
    """

    def __init__(
        self, empty: Callable[[], CurvaturePosterior], bins: int = 1, seed: int = 0, fisher_draws: int = 1
    ) -> None:
        self.posteriors = [empty() for _ in range(bins)]
        self.seed, self.fisher_draws = seed, fisher_draws
        self.forward_seconds = 0.0

    def add(self, model: GenerativeModel, batch: RegressionBatch) -> None:
        if isinstance(self.posteriors[0], LastLayerPosterior):
            self._add_head(model, batch)
        else:
            self._add_layers(model, batch)

    def _add_head(self, model: GenerativeModel, batch: RegressionBatch) -> None:
        started = time.perf_counter()
        prediction, features, output = head_features(model, batch.x, batch.t, batch.y)
        require_finite(features, f"the input of model.head = '{model.head_name}'", "Check the weights and the data.")
        self.forward_seconds += time.perf_counter() - started  # after the check, which waits for the device
        with full_precision(features.device):
            residuals = None
            if self.posteriors[0].needs == "residuals":
                _, residuals = residuals_at_head(prediction, batch.target, output)
            if len(self.posteriors) == 1:
                self.posteriors[0].update(features, residuals)
                return
            bin_B = bins_of(batch.t, len(self.posteriors))
            for number in bin_B.unique().tolist():
                rows_B = (bin_B == number).to(features.device)
                self.posteriors[number].update(features[rows_B], None if residuals is None else residuals[rows_B])

    def _add_layers(self, model: GenerativeModel, batch: RegressionBatch) -> None:
        (posterior,) = self.posteriors
        assert isinstance(posterior, LayersPosterior)
        started = time.perf_counter()
        prediction, inputs, outputs = layer_features(model, posterior.layer_names, batch.x, batch.t, batch.y)
        for name, value in inputs.items():
            require_finite(value, f"the input of layer '{name}'", "Check the weights and the data.")
        self.forward_seconds += time.perf_counter() - started
        numbers = [fisher_numbers(batch, prediction, self.seed, draw) for draw in range(self.fisher_draws)]
        gradients = fisher_gradients(prediction, outputs, torch.stack(numbers))
        with full_precision(prediction.device):
            posterior.update(inputs, gradients)

    def sums(self) -> dict[str, Tensor]:
        return self._of_all(lambda posterior: posterior.sums())

    def _of_all(self, of: Callable[[CurvaturePosterior], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        found = {
            f"{number}/{name}": value
            for number, posterior in enumerate(self.posteriors)
            for name, value in of(posterior).items()
        }
        counts = [float(posterior.n_seen) for posterior in self.posteriors]
        return found | {"n_seen": torch.tensor(counts, dtype=torch.float64)}

    def restore(self, sums: Mapping[str, Tensor]) -> None:
        for number, posterior in enumerate(self.posteriors):
            own = {name: sums[f"{number}/{name}"] for name in posterior.sums()}
            posterior.restore(own, round(float(sums["n_seen"][number])))

    def running(self) -> dict[str, Tensor]:
        return self._of_all(lambda posterior: posterior.running())

    def resume(self, running: Mapping[str, Tensor]) -> None:
        for number, posterior in enumerate(self.posteriors):
            prefix = f"{number}/"
            own = {name.removeprefix(prefix): value for name, value in running.items() if name.startswith(prefix)}
            posterior.resume(own, round(float(running["n_seen"][number])))

    def combined(self, weights_T: Tensor) -> CurvaturePosterior:
        """One posterior with the curvature of bin T multiplied by its weight."""
        first, *others = self.posteriors
        if not others:
            return first
        total = {
            name: sum(weight * posterior.sums()[name] for weight, posterior in zip(weights_T, self.posteriors))
            for name in first.sums()
        }
        first.restore(total, sum(posterior.n_seen for posterior in self.posteriors))
        return first


class HeldOutPass(Summed):
    """Residual variances, how the gradients of whole images vary, and whether the network is read as it was trained.

    Args:
        posterior: with its curvature summed.
        bins: T, of time.
        seed: keys the standard normal residuals that the real ones are compared with.
    """

    def __init__(self, posterior: Posterior, bins: int = 1, seed: int = 0) -> None:
        self.posterior, self.seed, self.reading = posterior, seed, ReadingSums()
        self.held_out = HeldOutSums(posterior.head.inputs if isinstance(posterior, LastLayerPosterior) else 0, bins)

    def add(self, model: GenerativeModel, batch: RegressionBatch) -> None:
        prediction = self._judge(model, batch)
        with full_precision(prediction.device):
            self.reading.update(batch.x, prediction, batch.target, batch.t)

    def _judge(self, model: GenerativeModel, batch: RegressionBatch) -> Tensor:
        """Add the residuals and gradients of a batch; returns the network's answers."""
        bin_B = bins_of(batch.t, self.held_out.bins)
        if isinstance(self.posterior, LastLayerPosterior):
            prediction, features, output = head_features(model, batch.x, batch.t, batch.y)
            with full_precision(features.device):
                residual, at_head = residuals_at_head(prediction, batch.target, output)
                self.held_out.update(self.posterior, features, residual, at_head, bin_B)
            return prediction
        if isinstance(self.posterior, LayersPosterior):
            names = self.posterior.layer_names
            prediction, inputs, outputs = layer_features(model, names, batch.x, batch.t, batch.y)
            residual, gradients = residual_gradients(prediction, batch.target, outputs)
            normal = fisher_gradients(prediction, outputs, fisher_numbers(batch, prediction, self.seed, 0))
            ridge = ridge_of(self.posterior)
            with full_precision(prediction.device):
                self.held_out.add_residuals(residual, bin_B)
                self.held_out.mahalanobis += self.posterior.mahalanobis(inputs, gradients, ridge)
                self.held_out.expected += self.posterior.mahalanobis(inputs, normal, ridge)
            return prediction
        with torch.no_grad():
            prediction = model(batch.x, batch.t, batch.y)
        self.held_out.add_residuals(prediction - batch.target, bin_B)
        return prediction

    def sums(self) -> dict[str, Tensor]:
        return self.held_out.sums() | self.reading.sums()

    def restore(self, sums: Mapping[str, Tensor]) -> None:
        self.held_out.restore(sums)
        self.reading.restore(sums)


class PredictivePass(Summed):
    """The held-out predictive density over factors of the covariance of a finalised posterior.

    Over the head in closed form; elsewhere with the draws of every factor, as predictions are not linear in them.

    Args:
        noise_T: s^2 of each bin of time.
        draws: weight draws of each factor, where the variance has no closed form. They are kept from batch to batch
            while they are small, else drawn again: draw m is the same each time.
    """

    def __init__(self, posterior: Posterior, noise_T: Tensor, draws: int = 4, seed: int = 0) -> None:
        self.posterior, self.noise_T, self.draws, self.seed = posterior, noise_T, draws, seed
        over_head = isinstance(posterior, LastLayerPosterior)
        self.predictive = PredictiveCurve(FACTORS if over_head else DRAWN_FACTORS)
        size = sum(value.numel() * value.element_size() for value in posterior.covered().values())
        self._keeps = size * draws * len(DRAWN_FACTORS) <= BYTES_KEPT
        self._kept: dict[float, list[dict[str, Tensor]]] = {}

    def add(self, model: GenerativeModel, batch: RegressionBatch) -> None:
        noise_B = self.noise_T[bins_of(batch.t, len(self.noise_T))]
        if isinstance(self.posterior, LastLayerPosterior):
            prediction, features, output = head_features(model, batch.x, batch.t, batch.y)
            with full_precision(features.device):
                _, at_head = residuals_at_head(prediction, batch.target, output)
                variance = self.posterior.predictive_variance(features)
            self.predictive.update(
                active_channels(at_head, self.posterior), active_channels(variance, self.posterior), noise_B
            )
            return
        with torch.no_grad():
            prediction = model(batch.x, batch.t, batch.y).double()
            deviations = [
                torch.stack([self._predicted(model, batch, values) - prediction for values in self._drawn(factor)])
                for factor in self.predictive.factors_G.tolist()
            ]
        self.predictive.update_drawn(prediction - batch.target, torch.stack(deviations), noise_B)

    def _drawn(self, factor: float) -> list[dict[str, Tensor]]:
        if factor in self._kept:
            return self._kept[factor]
        draws = drawn_at(self.posterior, factor, self.draws, self.seed)
        if self._keeps:
            self._kept[factor] = draws
        return draws

    def _predicted(self, model: GenerativeModel, batch: RegressionBatch, values: Mapping[str, Tensor]) -> Tensor:
        with swapped(self.posterior.module, values):
            return model(batch.x, batch.t, batch.y).double()

    def sums(self) -> dict[str, Tensor]:
        return self.predictive.sums()

    def restore(self, sums: Mapping[str, Tensor]) -> None:
        self.predictive.restore(sums)


def drawn_at(posterior: Posterior, factor: float, draws: int, seed: int) -> list[dict[str, Tensor]]:
    """Weight draws with the covariance multiplied; the posterior keeps its scale."""
    scale = posterior.require_final()
    try:
        posterior.rescaled(prior_precision=scale.prior_precision / factor, temperature=scale.temperature * factor)
        return [posterior.draw(index, seed) for index in range(draws)]
    finally:
        posterior.finalise(scale)


def active_channels(at_head: Tensor, posterior: LastLayerPosterior) -> Tensor:
    """The channels that the sampler uses, of a map in the layout of the head's output."""
    chosen = posterior.active_O.nonzero().flatten().to(at_head.device)
    return at_head.index_select(posterior.head.channel_axis, chosen)


def fisher_numbers(batch: RegressionBatch, prediction: Tensor, seed: int, draw: int) -> Tensor:
    """Standard normal numbers in the shape of the prediction, keyed by image: one Monte-Carlo draw of the Fisher."""
    return keyed_normal(batch, prediction.shape[1:], seed, f"{FISHER}/{draw}").to(prediction)
