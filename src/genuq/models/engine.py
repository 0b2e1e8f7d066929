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
        precision: of the network's passes; its head, layers that posteriors draw, states, times and statistics stay
            float32. Pipelines of diffusers have model.precision.
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
        return {key: value for key, value in vars(self).items() if value != getattr(type(self), key)}

    @property
    def notes(self) -> dict[str, Any]:
        """For a manifest."""
        return {"engine": self.identity} if self else {}

    def of(self, model: GenerativeModel, drawn: Iterable[Tensor] = ()) -> GenerativeModel:
        """The model as its network is evaluated; the given one stays as it is.

        Args:
            drawn: weights of the network that posteriors draw; see `GenerativeModel.half_precision`.

        Raises:
            ConfigurationError: this network cannot be evaluated so.
        """
        if not self:
            return model
        found = model.for_evaluation() if self.precision == FULL else model.half_precision(self.precision, drawn)
        if self.compile:
            found.compile_network()
        return found
