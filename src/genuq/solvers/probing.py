"""The affine steps of a scheduler, read off by stepping unit vectors: no scheduler is written down a second time.

A scheduler whose steps are affine in (x_T, f_0, f_1, ..., noise) turns unit vectors in place of these into its own
coefficients. What the network is shown of a state (`scale_model_input` of it) is the state of the stages.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from genuq.errors import ConfigurationError
from genuq.processes.scheduled import preconditions

_MEMORY = 16  # of the longest solver that is looked for, in stages
_EXHAUSTIVE = 2  # up to this memory the fewest coefficients are looked for
_TOLERANCE = 1e-9  # of a row in float64
_DRAWS = 4  # of noise in a stage, at most
_AMPLITUDE = 300.0  # of the states and predictions on which a step shows whether it clips
_SEEN = 16  # of these, each a pixel
_LINEAR = 1e-7  # relative


class SuppliedNoise(TorchFunctionMode):
    """Inside, the normal noise that torch is asked for (`randn`, `randn_like`) is what `supply` gives for a shape.

    Args:
        supply: from a shape to noise of it, called in the order in which noise is asked for.
        exact: states of float64 stay so where a scheduler goes on in float32.
    """

    def __init__(self, supply: Callable[[Sequence[int]], Tensor], exact: bool = False) -> None:
        super().__init__()
        self.supply, self.exact = supply, exact

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func in (torch.randn, torch.randn_like):
            return self._noise(func, args, given)
        if self.exact and func in (torch.Tensor.to, torch.Tensor.float) and _is_state(args[0]):
            return args[0]
        return func(*args, **given)

    def _noise(self, func: Any, args: tuple[Any, ...], given: Mapping[str, Any]) -> Tensor:
        if func is torch.randn_like:
            like = args[0] if args else given["input"]
            return self.supply(like.shape).to(like)
        shape = given.get("size", args[0] if args and isinstance(args[0], Sequence) else args)
        made = self.supply(shape)
        return made if self.exact else made.to(device=given.get("device"), dtype=given.get("dtype"))


def _is_state(tensor: Tensor) -> bool:
    return tensor.dtype == torch.float64 and tensor.ndim == 4


@dataclass(frozen=True)
class Stepped:
    """What a scheduler made of given predictions.

    Attributes:
        shown: (S + 1, W) float64: the state that the network is shown in each of S stages, and the result.
        scales: (S + 1,): of `scale_model_input`; 1 of the result.
        drawn: numbers of the noises that each stage drew.
        auxiliary: whether the scheduler says that the state a stage leads to is the auxiliary one of two.
    """

    shown: Tensor
    scales: list[float]
    drawn: list[list[int]]
    auxiliary: list[bool]


def stepped(
    scheduler: Any, start: Tensor, predictions: Tensor, noises: Tensor, first: int, options: Mapping[str, Any]
) -> Stepped:
    """Run a prepared scheduler from `start` (W,), with these predictions (S, W) and noises (N, W), as pipelines do.

    Args:
        first: the stage to begin with.
        options: further arguments of `step`.

    Raises:
        ConfigurationError: the scheduler refuses, or wants more noise.
    """
    width, number = len(start), itertools.count()
    drawn: list[list[int]] = []

    def supply(shape: Sequence[int]) -> Tensor:
        drawn[-1].append(next(number))
        if tuple(shape) != (1, 1, 1, width) or drawn[-1][-1] >= len(noises):
            raise ConfigurationError(f"{type(scheduler).__name__} draws other noise than one for each state.")
        return noises[drawn[-1][-1]].reshape(1, 1, 1, -1).clone()

    x = start.double().reshape(1, 1, 1, -1) * initial_scale(scheduler)
    shown, scales, auxiliary = [], [], []
    for stage, time in enumerate(scheduler.timesteps[first:]):
        drawn.append([])
        with SuppliedNoise(supply, exact=True):
            scales.append(float(shown_to_network(scheduler, torch.ones(1, 1, 1, 1, dtype=torch.float64), time)))
            shown.append(shown_to_network(scheduler, x, time).flatten())
            x = one_step(scheduler, predictions[stage].reshape(1, 1, 1, -1).clone(), time, x, options)
        auxiliary.append(not getattr(scheduler, "state_in_first_order", True))
    return Stepped(torch.stack([*shown, x.flatten()]), [*scales, 1.0], drawn, auxiliary)


def initial_scale(scheduler: Any) -> float:
    """Of the noise that a pipeline starts from; those of flow matching start from the noise itself."""
    return float(getattr(scheduler, "init_noise_sigma", 1.0))


def shown_to_network(scheduler: Any, x: Tensor, time: Tensor) -> Tensor:
    """What the network is shown of a state; the state itself of a scheduler of EDM, of which the path says it."""
    shown = scheduler.scale_model_input(x, time) if hasattr(scheduler, "scale_model_input") else x
    return x if preconditions(scheduler) else shown


def one_step(scheduler: Any, prediction: Tensor, time: Tensor, x: Tensor, options: Mapping[str, Any]) -> Tensor:
    """The next state.

    Raises:
        ConfigurationError: the scheduler refuses.
    """
    try:
        return scheduler.step(prediction, time, x, **options, return_dict=False)[0]
    except ConfigurationError:
        raise
    except (ValueError, TypeError, IndexError, AttributeError, RuntimeError, NotImplementedError) as error:
        raise ConfigurationError(
            f"{type(scheduler).__name__} refuses its step at time {float(time):g}: {error}"
        ) from error


@dataclass(frozen=True)
class Row:
    """One stage: coefficients of the states and the predictions, newest first, and of its noise."""

    x: tuple[float, ...]
    f: tuple[float, ...]
    noise: float


@dataclass(frozen=True)
class Probed:
    """A scheduler's steps as coefficients.

    Attributes:
        times: what the network is told in each of S stages.
        rows: of each stage.
        scales: (S + 1,) of `scale_model_input`.
        start: coefficient of the initial noise in the first state that the network is shown.
        auxiliary: see `Stepped`.
    """

    times: list[float]
    rows: list[Row]
    scales: list[float]
    start: float
    auxiliary: list[bool]


class NotAffineError(Exception):
    """The steps of a scheduler are not affine in what the network predicts; says where."""


def probe(make: Callable[[], Any], first: int, options: Mapping[str, Any]) -> Probed:
    """The coefficients of a scheduler.

    Args:
        make: gives the prepared scheduler anew: it is stepped twice.
        first, options: see `stepped`.

    Raises:
        NotAffineError: some step is not affine, or needs more than it is told.
        ConfigurationError: see `stepped`.
    """
    scheduler = make()
    times = [float(time) for time in scheduler.timesteps[first:]]
    stages = len(times)
    source = torch.Generator().manual_seed(0)
    values = _AMPLITUDE * torch.randn(1 + (1 + _DRAWS) * stages, _SEEN, generator=source, dtype=torch.float64)
    seen = stepped(scheduler, values[0], values[1 : stages + 1], values[stages + 1 :], first, options)
    width = 1 + stages + sum(map(len, seen.drawn))
    units = torch.eye(width, dtype=torch.float64)
    found = stepped(make(), units[0], units[1 : stages + 1], units[stages + 1 :], first, options)
    _require_linear(found.shown, values[:width], seen.shown, times)
    rows = []
    for stage in range(stages):
        noises = [units[stages + 1 + number] for number in found.drawn[stage]]
        row = shortest(found.shown[stage + 1], found.shown[: stage + 1], units[1 : stage + 2], noises)
        if row is None:
            raise NotAffineError(f"the step from time {times[stage]:g} needs more than the last {_MEMORY} stages")
        rows.append(row)
    return Probed(times, rows, found.scales, float(found.shown[0, 0]), found.auxiliary)


def _require_linear(shown: Tensor, values: Tensor, seen: Tensor, times: Sequence[float]) -> None:
    """That large random states and predictions were combined (`seen`) as unit vectors were (`shown`).

    Raises:
        NotAffineError: they were not.
    """
    broken = ~(shown.isfinite().all(1) & seen.isfinite().all(1))
    if bool(broken.any()):
        raise NotAffineError(f"the step from time {times[_stage_of(broken)]:g} has coefficients that are not finite")
    expected = shown @ values
    wrong = (seen - expected).abs().amax(1) > _LINEAR * expected.abs().amax(1).clamp(min=_AMPLITUDE)
    if bool(wrong.any()):
        raise NotAffineError(f"the step from time {times[_stage_of(wrong)]:g} clips or bends")


def _stage_of(flagged: Tensor) -> int:
    """The stage that led to the first flagged state."""
    return max(int(flagged.nonzero()[0]) - 1, 0)


def shortest(row: Tensor, states: Tensor, predictions: Tensor, noises: Sequence[Tensor]) -> Row | None:
    """The row (W,) as a combination of the latest states and predictions (k, W), oldest first, with few of them.

    Args:
        noises: that the stage drew; their coefficients become that of one.
    """
    rest, on_noise = row.clone(), []
    for unit in noises:
        on_noise.append(float(row @ unit))
        rest -= on_noise[-1] * unit
    one = on_noise[0] if len(on_noise) == 1 else float(torch.tensor(on_noise).double().norm())
    count = len(states)
    for memory in range(1, min(count, _MEMORY) + 1):
        newest = [*states[count - memory :].flip(0), *predictions[count - memory :].flip(0)]
        for chosen in _choices(memory):
            weights = _fitted(rest, [newest[place] for place in chosen])
            if weights is not None:
                full = [0.0] * (2 * memory)
                for place, weight in zip(chosen, weights):
                    full[place] = weight
                return Row(_trimmed(full[:memory]), _trimmed(full[memory:]), one)
    return None


def _choices(memory: int) -> Iterator[tuple[int, ...]]:
    """Which of (x_0, ..., x_m-1, f_0, ..., f_m-1) to combine, the fewest first."""
    everything = tuple(range(2 * memory))
    if memory <= _EXHAUSTIVE:
        for size in range(1, len(everything) + 1):
            yield from itertools.combinations(everything, size)
        return
    yield (0, *everything[memory:])
    yield everything


def _fitted(row: Tensor, parts: Sequence[Tensor]) -> list[float] | None:
    """Coefficients with which the parts add up to the row; None where they do not."""
    matrix = torch.stack(list(parts), 1)
    weights = torch.linalg.lstsq(matrix, row[:, None], driver="gelsd").solution[:, 0]
    off = (matrix @ weights - row).abs().max()
    return weights.tolist() if float(off) <= _TOLERANCE * max(float(row.abs().max()), 1e-3) else None


def _trimmed(weights: list[float]) -> tuple[float, ...]:
    """Without the zeros at the end; the first stays."""
    last = max((place for place, weight in enumerate(weights) if weight), default=0)
    return tuple(weights[: last + 1])
