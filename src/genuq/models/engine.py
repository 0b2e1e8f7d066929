"""How a trained network is evaluated for samples and scores: its precision, and whether it is compiled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from torch import Tensor

from genuq.models.generative import GenerativeModel
from genuq.models.precision import FULL, PRECISIONS
from genuq.parts.bounds import OneOf, check_fields


@dataclass(frozen=True)
class Engine:
    """How a trained network is evaluated for samples and scores; fits run it in float32, as it is.

    Attributes:
        precision: of the network's passes; its head, states, times and statistics stay float32, and so do layers that
            posteriors draw by so little that rounding would hide it. Pipelines of diffusers have model.precision.
        compile: by torch.compile; whatever watches the network's layers or takes gradients runs it as it is.
    """

    precision: Annotated[str, OneOf(*PRECISIONS)] = FULL
    compile: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "sampler")

    def __bool__(self) -> bool:
        return bool(self.identity)

    @property
    def identity(self) -> dict[str, Any]:
        """What numbers depend on; nothing of networks that run in float32, as they are."""
        return self._set | ({"large draws": "rounded"} if self.precision != FULL else {})

    @property
    def notes(self) -> dict[str, Any]:
        """For a manifest."""
        return {"engine": self._set} if self else {}

    @property
    def _set(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if value != getattr(type(self), key)}

    def of(
        self, model: GenerativeModel, drawn: Iterable[Tensor] = (), rounded: Iterable[Tensor] = ()
    ) -> GenerativeModel:
        """The model as its network is evaluated; the given one stays as it is.

        Args:
            drawn, rounded: weights of the network that posteriors draw (`posteriors.drawn_in`); see
                `GenerativeModel.half_precision`.

        Raises:
            ConfigurationError: this network cannot be evaluated so.
        """
        if not self:
            return model
        full = self.precision == FULL
        found = model.for_evaluation() if full else model.half_precision(self.precision, drawn, rounded)
        if self.compile:
            found.compile_network()
        return found
