"""Other readings of a network whose answers do not fit its targets: which of the usual ones would make them fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genuq.models import Autoencoder, GenerativeModel
from genuq.posteriors.fitting.reading import ReadingSums
from genuq.posteriors.fitting.regression import RegressionBatch
from genuq.processes import PREDICTIONS, FlowMatching, Predicted, Process, VariancePreserving, conversion, target

SCHEDULES = ("linear", "scaled_linear", "cosine")  # of diffusion models, that are tried
ON_FLOW, ON_DIFFUSION = ("flow", "minus_flow"), ("epsilon", "v_prediction", "sample")  # predictions in use
SAME_PATH = 1e-3  # of alpha
MOST_NAMED = 3
Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rereading:
    """States that the network is shown, and what its answers may mean there.

    Attributes:
        meanings: predictions, each with the words that name the whole reading.
        process: from data to noise.
        data: what becomes of the data before noise is added.
        told: the time that the network is told in place of its process's own for t.
        classes: in place of the labels'.
        rival: to the others of its kind: answers hardly change with the class, so that of those which fit only the one
            with the smallest residual is named.
    """

    meanings: Sequence[tuple[Predicted, str]]
    process: Process
    data: Change = lambda x0: x0
    told: Change | None = None
    classes: Change = lambda y_B: y_B
    rival: bool = False


def rereadings(model: GenerativeModel) -> list[Rereading]:
    """The other readings that are tried: predictions, processes, ranges, times, classes."""
    own, meant = model.process, model.prediction
    others = [(name, f"prediction = {name}") for name in PREDICTIONS if name != str(meant)]
    return [
        Rereading(others, own),
        *_of_paths(model),
        *(Rereading([(meant, words)], own, data=change) for words, change in _ranges(model)),
        *(Rereading([(meant, words)], own, told=change) for words, change in _times(own)),
        *(Rereading([(meant, words)], own, classes=change, rival=True) for words, change in _classes(model)),
    ]


def _of_paths(model: GenerativeModel) -> list[Rereading]:
    paths: list[tuple[Process, str, tuple[str, ...]]] = [(FlowMatching(), "process = flow_matching", ON_FLOW)]
    for schedule in SCHEDULES:
        words = f"process = variance_preserving with schedule = {schedule}"
        paths.append((VariancePreserving(schedule), words, ON_DIFFUSION))
    found, times = [], torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    for path, words, usual in paths:
        if float((path.alpha(times) - model.process.alpha(times)).abs().max()) > SAME_PATH:
            meanings = list(dict.fromkeys([str(model.prediction), *usual]))
            found.append(Rereading([(name, f"{words} and prediction = {name}") for name in meanings], path))
    return found


def _ranges(model: GenerativeModel) -> list[tuple[str, Change]]:
    if type(model.autoencoder) is not Autoencoder:
        return _scalings(float(getattr(model.autoencoder, "scaling", 1.0)))
    if len(model.shape) < 3:
        return []  # points have no range
    return [
        ("images in [0, 1] in place of [-1, 1]", lambda x0: (x0 + 1) / 2),
        ("images twice as wide less 1, as where those given lie in [0, 1]", lambda x0: 2 * x0 - 1),
        ("images with black and white exchanged", lambda x0: -x0),
    ]


def _scalings(scaling: float) -> list[tuple[str, Change]]:
    """Of latents, whose autoencoder multiplies them by `scaling`."""
    found: list[tuple[str, Change]] = [("latents of unit variance", lambda x0: x0 / x0.std())]
    if scaling != 1:
        found.append((f"latents without the factor {scaling:g}", lambda x0: x0 / scaling))
        found.append((f"latents with the factor {scaling:g} once more", lambda x0: x0 * scaling))
    return found


def _times(process: Process) -> list[tuple[str, Change]]:
    found: list[tuple[str, Change]] = [
        ("time from noise to data, 1 - t", lambda t_B: process.network_time(1 - t_B)),
        ("the network told t / 1000 of the time t that it is now", lambda t_B: process.network_time(t_B) / 1000),
    ]
    if float(process.network_time(torch.ones(1))) <= 1:  # beyond the published 1000 steps a table has no entry
        found.append(("the network told 1000 t of the time t that it is now", lambda t_B: 1000 * t_B))
    return found


def _classes(model: GenerativeModel) -> list[tuple[str, Change]]:
    count = model.num_classes
    if not count:
        return []
    found: list[tuple[str, Change]] = [
        ("classes counted from 1", lambda y_B: (y_B + 1) % count),
        ("classes counted down by 1", lambda y_B: (y_B - 1) % count),
    ]
    if _has_null(model):
        found.append(("the null class in place of the labels, so that these are others", model.null_of))
    return found


def _has_null(model: GenerativeModel) -> bool:
    """Whether the network certainly knows a null class: an index beyond its table would end a process on CUDA."""
    if model.conditions is not None:
        return model.has_null
    tables = [part for part in model.network.modules() if isinstance(part, nn.Embedding)]
    return any(table.num_embeddings == model.num_classes + 1 for table in tables)


@torch.no_grad()
def that_fit(model: GenerativeModel, batches: Iterable[RegressionBatch]) -> list[str]:
    """The words of the other readings under which the answers fit their targets, the nearest first.

    Args:
        model: in evaluation mode.
        batches: of images that its own reading was judged on.
    """
    tried = [(each, [ReadingSums() for _ in each.meanings]) for each in rereadings(model)]
    for batch in batches:
        x0, noise = _parts(model, batch)
        tried = [(each, sums) for each, sums in tried if _added(model, each, sums, batch, x0, noise)]
    found: list[tuple[float, float, str]] = []
    rivals: list[tuple[float, float, str]] = []
    for each, sums in tried:
        for (_, words), summed in zip(each.meanings, sums):
            reading, overall = summed.reading(), summed.reading(most=1)
            if reading and overall and overall.certain and not reading.misfits:
                (rivals if each.rival else found).append((overall.excess[0], reading.distance, words))
    named = sorted([*found, *sorted(rivals)[:1]], key=lambda entry: entry[1])
    return [words for _, _, words in named[:MOST_NAMED]]


def _added(model: GenerativeModel, how: Rereading, *rest: Any) -> bool:
    """Whether the network takes what another reading shows it: one that does not is not read so."""
    try:
        _add(model, how, *rest)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
        return False
    return True


def _add(
    model: GenerativeModel,
    how: Rereading,
    sums: Sequence[ReadingSums],
    batch: RegressionBatch,
    x0: Tensor,
    noise: Tensor,
) -> None:
    t_B = batch.t
    x0 = how.data(x0)
    x = how.process.interpolate(x0, noise, t_B).to(batch.x.dtype)
    told_B = None if how.told is None else how.told(t_B).to(t_B.dtype)
    answer = model(x, t_B, None if batch.y is None else how.classes(batch.y), told_B)
    for (prediction, _), own in zip(how.meanings, sums):
        own.update(x, answer, target(prediction, how.process, x0, noise, t_B), t_B)


def _parts(model: GenerativeModel, batch: RegressionBatch) -> tuple[Tensor, Tensor]:
    """(x_0, eps) of a batch, in float64, from its states and targets."""
    x, f = batch.x.double(), batch.target.double()
    known = conversion(model.prediction, model.process, batch.t.double())
    on_x0_x, on_x0_f, on_eps_x, on_eps_f = (part.reshape(-1, *[1] * (x.ndim - 1)) for part in known)
    return on_x0_x * x + on_x0_f * f, on_eps_x * x + on_eps_f * f
