"""The exact score of a mixture as a network: no weight is uncertain, so that what any score finds is its floor."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from genuq.data.lattice import lattice_centres
from genuq.models.generative import GenerativeModel
from genuq.models.register import MODELS
from genuq.parts.bounds import Limits, OneOf, Positive
from genuq.processes import Process
from genuq.processes import build as build_process


class ExactMixture(nn.Module):
    """The posterior mean E[x_0 | x_t] of an equal-weight mixture of isotropic Gaussians, in closed form.

    Its last layer is `head`, which mixes the centres: weight noise there moves the modes.

    Args:
        centres_KD: of the modes.
        standard_deviation: s of each mode.
        process: from data to noise.
    """

    centres_KD: Tensor

    def __init__(self, centres_KD: Tensor, standard_deviation: float, process: Process) -> None:
        super().__init__()
        self.register_buffer("centres_KD", centres_KD.double(), persistent=False)
        self.variance, self.process = standard_deviation**2, process
        modes, dimension = centres_KD.shape
        self.head = nn.Linear(modes, dimension, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(centres_KD.T)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """E[x_0 | x_t] at points x (B, D) and times t (B,), in float64 up to the head.

        With v = alpha^2 s^2 + sigma^2, r_k the softmax of -|x - alpha mu_k|^2 / 2v, and g = alpha s^2 / v, it is
        sum_k r_k (1 - g alpha) mu_k + g x.
        """
        alpha_B1, sigma_B1 = (part(t.double())[:, None] for part in (self.process.alpha, self.process.sigma))
        spread_B1 = alpha_B1.square() * self.variance + sigma_B1.square()
        offsets_BKD = x.double()[:, None] - alpha_B1[:, :, None] * self.centres_KD
        shares_BK = (-offsets_BKD.square().sum(-1) / (2 * spread_B1)).softmax(1)
        gain_B1 = alpha_B1 * self.variance / spread_B1
        weights_BK = (shares_BK * (1 - gain_B1 * alpha_B1)).to(self.head.weight.dtype)
        return self.head(weights_BK) + gain_B1.to(x.dtype) * x


@MODELS.add(label="Exact score of a mixture")
def exact_mixture(
    dimension: Annotated[int, Limits(1, 4096)] = 2,
    modes: Annotated[int, Limits(2, 20_000)] = 25,
    spacing: Positive = 2.0,
    standard_deviation: Positive = 0.02,
    interpolant: Annotated[str, OneOf("flow_matching", "variance_preserving")] = "flow_matching",
) -> GenerativeModel:
    """The exact score of `lattice_mixture` as a model: it makes no error but the sampler's.

    Args:
        dimension, modes, spacing, standard_deviation: of the data, which must agree.
        interpolant: the process, flow_matching or variance_preserving.
    """
    path = build_process(interpolant)
    network = ExactMixture(lattice_centres(dimension, modes, spacing), standard_deviation, path)
    return GenerativeModel(network, (dimension,), path, prediction="sample", head="head")
