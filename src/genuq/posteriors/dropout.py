"""MC dropout as a distribution over weights: one mask of the inputs of each layer for a whole draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel
from genuq.models.generative import evaluating
from genuq.models.head import head_candidates
from genuq.models.offloaded import parameters_of
from genuq.parts.bounds import Items, Limits
from genuq.posteriors.curvature.layer_choice import choose_layers
from genuq.posteriors.curvature.layers import qualified
from genuq.posteriors.dataless import DatalessPosterior
from genuq.posteriors.register import POSTERIORS
from genuq.posteriors.swap import draw_precision
from genuq.randomness import WEIGHTS, generator

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


@POSTERIORS.add(
    label="MC dropout",
    description="Inputs of the layers are switched off at random, with one mask for the whole of a weight draw.",
    internal=frozenset({"rates"}),
)
class MCDropout(DatalessPosterior):
    """W -> W diag(z) / (1 - p), z ~ Bernoulli(1 - p) for each input channel or feature of each layer.

    The same mask holds for all positions, images and steps of a draw, so that a trajectory has one network. Where the
    network trained with element-wise nn.Dropout on feature maps or tokens, its masks differed from position to
    position; dropping whole channels then is a larger perturbation of the output than it was trained with. On flat
    features, and for nn.Dropout2d, the two are the same. The temperature multiplies the deviations' covariance.

    Args:
        network: with its trained weights.
        rates: p of each layer by its name (`fed_by_dropout` finds them).
        layers, rate: in their place, names or patterns and one p for all.

    Raises:
        ConfigurationError: neither `rates` nor both others, a rate outside (0, 1), or layers that cannot be covered.

    Source: Gal & Ghahramani 2016, section 3.
    """

    kind = "mc_dropout"

    def __init__(
        self,
        network: nn.Module,
        rates: Mapping[str, float] | None = None,
        layers: str | Annotated[Sequence[str], Items()] | None = None,
        rate: Annotated[float, Limits(above=0, below=1)] | None = None,
    ) -> None:
        if rates is None and (layers is None or rate is None):
            raise ConfigurationError(
                "posterior 'mc_dropout' does not know what to drop: set posterior.layers and posterior.rate, or train "
                "a network with nn.Dropout in front of its layers."
            )
        if rates is None:
            rates = dict.fromkeys(choose_layers(network, layers or [])[0], float(rate or 0.0))
        self.rates = {name: rates[name] for name in choose_layers(network, list(rates), "posterior.rates")[0]}
        for name, value in self.rates.items():
            if not 0 < value < 1:
                raise ConfigurationError(f"posterior.rate = {value} of layer '{name}'; it must lie between 0 and 1.")
        super().__init__(network)

    def covered(self) -> dict[str, Tensor]:
        return parameters_of(self.module, [qualified(name, "weight") for name in self.rates])

    def options(self) -> dict[str, Any]:
        return {"rates": self.rates}

    def squared_deviations(self, draws: int = 0, seed: int = 0) -> dict[str, float]:
        temperature = self.require_final().temperature
        found = {}
        for name, rate in self.rates.items():
            key = qualified(name, "weight")
            found[key] = temperature * rate / (1 - rate) * float(self.trained[key].double().square().mean())
        return found

    def draw(self, index: int, seed: int = 0) -> dict[str, Tensor]:
        spread = self.require_final().temperature ** 0.5
        self.require_precision()
        drawn = {}
        for name, rate in self.rates.items():
            weight = self.trained[qualified(name, "weight")]
            source = generator(seed, index, f"{WEIGHTS}, {name}")
            kept = torch.rand(weight.shape[1], generator=source, dtype=torch.float64) >= rate
            factor = 1 + spread * (kept.double() / (1 - rate) - 1)
            columns = factor.reshape(-1, *[1] * (weight.ndim - 2))
            value = weight.double().cpu() * columns
            drawn[qualified(name, "weight")] = value.to(weight.device, draw_precision(weight))
        return drawn


def fed_by_dropout(model: GenerativeModel, x: Tensor, t_B: Tensor, y_B: Tensor | None) -> dict[str, float]:
    """The Conv2d and Linear layers whose input comes straight from a dropout layer, with its rate.

    One forward pass in evaluation mode. A reshape in between is seen through, an activation is not.

    Raises:
        ConfigurationError: the network has no active dropout, or none that feeds a layer.
    """
    dropouts = active_dropouts(model.network)
    dropped: list[tuple[Tensor, float]] = []  # holds the tensors, so that no storage is used again
    rates: dict[str, float] = {}

    def mark(output: Tensor, rate: float) -> Tensor:
        dropped.append((output.clone(), rate))
        return dropped[-1][0]

    def look(name: str, inputs: tuple[Tensor, ...]) -> None:
        for output, rate in dropped:
            if inputs[0].untyped_storage().data_ptr() == output.untyped_storage().data_ptr():
                rates[name] = rate

    part = model.network.get_submodule
    handles = [
        part(name).register_forward_hook(lambda _, inputs, output, rate=rate: mark(output, rate))
        for name, rate in dropouts.items()
    ]
    for name in head_candidates(model.network):
        handles.append(part(name).register_forward_pre_hook(lambda _, inputs, name=name: look(name, inputs)))
    try:
        with evaluating(model), torch.no_grad():
            model(x, t_B, y_B)
    finally:
        for handle in handles:
            handle.remove()
    if not rates:
        raise ConfigurationError(
            f"no Conv2d or Linear takes its input straight from a dropout layer ({', '.join(dropouts)}). Set "
            "posterior.layers and posterior.rate."
        )
    return rates


def active_dropouts(network: nn.Module) -> dict[str, float]:
    """The rate of each of the network's dropout layers that drops something, by name.

    Raises:
        ConfigurationError: there is none.
    """
    modules = network.named_modules()
    rates = {name: float(module.p) for name, module in modules if isinstance(module, DROPOUTS) and 0 < module.p < 1}
    if not rates:
        raise ConfigurationError(
            f"{type(network).__name__} has no nn.Dropout with a rate above 0. Set posterior.layers and "
            "posterior.rate, or train with network.dropout."
        )
    return rates
