"""What the weights of a plan's models hold of a device's memory, in the precision that they were asked in."""

from __future__ import annotations

from dataclasses import dataclass

from genuq.models import GenerativeModel
from genuq.pipeline.configured import untrained_model
from genuq.planning.plan import Plan


@dataclass(frozen=True)
class Held:
    """The weights of one model: network and autoencoder.

    Attributes:
        weights: of the network alone.
        bytes: of both.
        precision: of the network.
    """

    weights: int
    bytes: int
    precision: str


def memory_of(plan: Plan) -> list[Held]:
    """Of each model that evaluations are planned of."""
    runs = [one.run for one in plan.to_make if one.work.forward]
    return list(dict.fromkeys(held_by(untrained_model(run)) for run in runs))


def held_by(model: GenerativeModel) -> Held:
    """The weights of one model."""
    own = list(model.network.parameters())
    whole = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    return Held(sum(weight.numel() for weight in own), whole, str(own[0].dtype).removeprefix("torch."))
