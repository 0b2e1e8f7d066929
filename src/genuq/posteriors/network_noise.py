"""A posterior over a network that is none: isotropic noise of a given size in each parameter, a control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError, did_you_mean
from genuq.models.offloaded import parameters_of
from genuq.posteriors.base import Posterior
from genuq.posteriors.curvature.layer_choice import ALL, matching
from genuq.posteriors.curvature.layers import qualified
from genuq.posteriors.dataless import DatalessPosterior
from genuq.posteriors.register import POSTERIORS
from genuq.posteriors.swap import draw_precision
from genuq.randomness import WEIGHTS, generator


@POSTERIORS.add(
    label="Isotropic noise, network",
    description="A control: noise in the weights of the whole network, which knows no data; "
    "it can be given the size of another posterior in each parameter.",
    kind="control",
    internal=frozenset({"parameters", "variances"}),
)
class NetworkNoise(DatalessPosterior):
    """N(w_map, v I) in each parameter tensor: weight noise that knows no curvature, as a control.

    v = 1 / prior_precision of the scale in all; or, where `variances` are given, each tensor's own times the
    temperature.

    Args:
        network: with its trained weights.
        parameters: dotted names and glob patterns, or `all`.
        variances: of each parameter by its name, in place of `parameters`.

    Raises:
        ConfigurationError: a pattern that matches nothing, or a variance that is negative or of no parameter.
    """

    kind = "isotropic_network"

    def __init__(
        self,
        network: nn.Module,
        parameters: str | Sequence[str] = ALL,
        variances: Mapping[str, float] | None = None,
    ) -> None:
        self.variances = None if variances is None else dict(variances)
        self.parameter_names = _choose(network, parameters if variances is None else list(variances))
        for name, value in (self.variances or {}).items():
            if not 0 <= value < float("inf"):
                raise ConfigurationError(f"variances['{name}'] = {value}; it must be finite and not negative.")
        super().__init__(network)

    def matched_to(
        self, posterior: Posterior, per_parameter: bool = True, draws: int = 16, seed: int = 0
    ) -> NetworkNoise:
        """Noise whose draws deviate as much as those of another posterior, which moves this network or a part of it.

        Args:
            posterior: finalised, of any family; its temperature is contained in the variances.
            per_parameter: the same mean square in each parameter tensor; False: one variance for all that it moves.
            draws, seed: for families without closed form.
        Raises:
            ConfigurationError: it belongs to another network.
        """
        places = [name for name, module in self.module.named_modules() if module is posterior.module]
        if not places:
            raise ConfigurationError("the posterior to match moves another network than this noise.")
        sizes = {name: value.numel() for name, value in posterior.covered().items()}
        found = posterior.squared_deviations(draws, seed)
        if not per_parameter:
            mean = sum(found[name] * size for name, size in sizes.items()) / sum(sizes.values())
            found = dict.fromkeys(found, mean)
        variances = {qualified(places[0], name): value for name, value in found.items()}
        return NetworkNoise(self.module, variances=variances)

    def covered(self) -> dict[str, Tensor]:
        return parameters_of(self.module, self.parameter_names)

    def options(self) -> dict[str, Any]:
        if self.variances is not None:
            return {"variances": self.variances}
        return {"parameters": self.parameter_names}

    def squared_deviations(self, draws: int = 0, seed: int = 0) -> dict[str, float]:
        scale = self.require_final()
        if self.variances is None:
            return dict.fromkeys(self.parameter_names, 1 / scale.prior_precision)
        return {name: self.variances[name] * scale.temperature for name in self.parameter_names}

    def draw(self, index: int, seed: int = 0) -> dict[str, Tensor]:
        variances = self.squared_deviations()
        self.require_precision()
        drawn = {}
        for name, trained in self.trained.items():
            source = generator(seed, index, f"{WEIGHTS}, {name}")
            normal = torch.randn(trained.shape, generator=source, dtype=torch.float64)
            value = trained.double().cpu() + variances[name] ** 0.5 * normal
            drawn[name] = value.to(trained.device, draw_precision(trained))
        return drawn


def _choose(network: nn.Module, patterns: str | Sequence[str]) -> list[str]:
    """Names of the matching parameters, in the order of registration."""
    candidates = [name for name, value in network.named_parameters() if value.is_floating_point()]
    chosen: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matches = matching(candidates, pattern)
        if not matches:
            raise ConfigurationError(
                f"parameters = '{pattern}' matches no parameter." + did_you_mean(pattern, candidates)
            )
        chosen.update(matches)
    if not chosen:
        raise ConfigurationError("parameters is empty: name the parameters to move, or write 'all'.")
    return [name for name in candidates if name in chosen]
