"""The sampler's one path: its states, recorded while it samples, and what networks predict at some of its points."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, Sampler, StageRecord, guidance
from genuq.scores.shared.predictions import ASKED, NULL, OWN, Predictions, Resources


class PathRecorder:
    """An observer that keeps the state at the start of each step, and what the network answered there.

    With guidance the network answers for the null class and for the one asked for at once; both are kept.

    Attributes:
        states: x_t (B, ...) of each step.
        times: t of each step.
        told: what the network was told of it, where it is not what the process says.
        answers: f for the class asked for, and for the null class where the sampler asked for it.
    """

    def __init__(self, model: GenerativeModel, sampler: Sampler, indices: Sequence[int]) -> None:
        self.model, self.sampler, self.indices = model, sampler, indices
        self.states: list[Tensor] = []
        self.times: list[float] = []
        self.told: list[float | None] = []
        self.answers: list[dict[int | str, Tensor]] = []
        self._latest = torch.empty(0)
        self._starts_step = True

    def listen(self, module: nn.Module, inputs: tuple[Tensor, ...], prediction: Tensor) -> None:
        """Remember the network's latest prediction; a forward hook."""
        self._latest = prediction[:, : inputs[0].shape[1]]  # channels of a learned variance may lie behind it

    def __call__(self, record: StageRecord) -> None:
        if self._starts_step:
            self.states.append(record.states[0])
            self.times.append(record.stage.t)
            self.told.append(record.stage.network_time)
            self.answers.append(self._answers(len(record.states[0])))
        self._starts_step = not record.stage.intermediate

    def _answers(self, batch: int) -> dict[int | str, Tensor]:
        if len(self._latest) == batch:
            return {ASKED: self._latest}
        branches = self.model.require_guidance(self.sampler.guidance_scale).branches
        labels: dict[str, int | str] = {guidance.OWN: ASKED, guidance.NULL: NULL}
        return {labels[branch]: part for branch, part in zip(branches, self._latest.chunk(len(branches)))}

    def tensors(self) -> dict[str, Tensor]:
        """What was recorded, for a file; each has a row a sample. `kept` has it back.

        `states` x_t and the network's answers `asked`, and `null` where the sampler guides, (B, S, ...) as they were
        computed, and `times` (B, S) float64; `told` (B, S) where a scheduler tells the network another time. They are
        not rounded to half precision: weight draws may disagree by less.
        """
        count, answers = len(self.states[0]), {"asked": ASKED, "null": NULL}
        told = [math.nan if time is None else time for time in self.told]
        own = (
            {"told": torch.tensor(told, dtype=torch.float64).repeat(count, 1)} if any(map(math.isfinite, told)) else {}
        )
        return {
            "states": torch.stack(self.states, 1).cpu(),
            "times": torch.tensor(self.times, dtype=torch.float64).repeat(count, 1),
            **own,
            **{
                name: torch.stack([answer[label] for answer in self.answers], 1).cpu()
                for name, label in answers.items()
                if label in self.answers[0]
            },
        }

    @classmethod
    def kept(
        cls, model: GenerativeModel, sampler: Sampler, indices: Sequence[int], tensors: Mapping[str, Tensor]
    ) -> Self:
        """A recorder that has seen what was recorded earlier.

        Args:
            indices: of the samples.
            tensors: of these samples, see `tensors`.
        """
        found = cls(model, sampler, indices)
        found.states = list(tensors["states"].to(model.device).unbind(1))
        found.times = tensors["times"][0].tolist()
        told = tensors["told"][0].tolist() if "told" in tensors else [math.nan] * len(found.times)
        found.told = [None if math.isnan(time) else time for time in told]
        labels: dict[str, int | str] = {"asked": ASKED, "null": NULL}
        given = {label: tensors[name].to(model.device) for name, label in labels.items() if name in tensors}
        found.answers = [
            {label: answer[:, step] for label, answer in given.items()} for step in range(len(found.times))
        ]
        return found

    def path(self, resources: Resources | None = None) -> SamplerPath:
        """What was recorded."""
        return SamplerPath(self, resources)


@contextlib.contextmanager
def recording(model: GenerativeModel, sampler: Sampler, indices: Sequence[int]) -> Iterator[PathRecorder]:
    """A recorder of one batch; it must be the first of the sampler's observers, as others may ask the network too."""
    recorder = PathRecorder(model, sampler, indices)
    handle = model.register_forward_hook(recorder.listen)
    try:
        yield recorder
    finally:
        handle.remove()


class SamplerPath(Predictions):
    """Predictions at points of the path that a batch of samples took; a place is the number of a step.

    All of them are of the class asked for, without guidance: one evaluation a point, and none for the network's own
    weights, which the sampler has asked already.

    Attributes:
        indices: of the samples.
    """

    def __init__(self, recorded: PathRecorder, resources: Resources | None = None) -> None:
        super().__init__(recorded.model, recorded.sampler.classes_of(recorded.model, recorded.indices), resources)
        self.indices, self._states, self._times = recorded.indices, recorded.states, recorded.times
        self._told = recorded.told
        for step, answers in enumerate(recorded.answers):
            for label, prediction in answers.items():
                self.ledger.give((step, OWN, label), prediction)

    @property
    def steps(self) -> int:
        return len(self._times)

    def at(self, points: Sequence[float]) -> list[int]:
        """The steps at these fractions of the path: 0 is the first, at the noise, 1 the last one.

        Raises:
            ConfigurationError: no point, or one outside of [0, 1].
        """
        require_points(points)
        return list(dict.fromkeys(round(point * (self.steps - 1)) for point in points))

    def parts(self, place: Hashable) -> Sequence[Hashable]:
        return (place,)

    def state(self, part: Hashable) -> tuple[Tensor, float]:
        assert isinstance(part, int)
        return self._states[part], self._times[part]

    def network_time(self, part: Hashable) -> float | None:
        assert isinstance(part, int)
        return self._told[part]


def require_points(points: Sequence[float], key: str = "points") -> None:
    """Raise ConfigurationError unless there are points, all of them fractions of the path."""
    if not points or not all(0 <= point <= 1 for point in points):
        raise ConfigurationError(f"{key} = {list(points)}; give fractions of the path, 0 (noise) to 1 (last).")
