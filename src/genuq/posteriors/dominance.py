"""What decides a posterior, data or prior? Where the prior does, its draws are isotropic noise by another name."""

from __future__ import annotations

from dataclasses import dataclass

from genuq.posteriors.base import CurvaturePosterior, Posterior
from genuq.posteriors.ivon import Ivon


@dataclass(frozen=True)
class PriorDominance:
    """How much of a posterior is its prior.

    Attributes:
        parameters: weights that a draw moves; None for posteriors without curvature, as the next two.
        effective_parameters: sum of l / (l + d) over the curvature's eigenvalues l in the precision, d the prior
            precision: how many of them the data decide. Also None for an IVON whose curvature is still mostly its
            first guess (beta2 ** steps of 0.05 or more, as by default: 0.999 ** 300 is 0.74).
        trace_ratio: trace of the posterior covariance over that of the prior: near 1 the prior alone decides.
        relative_move: size of a draw's deviation over that of the trained weights.
    Source: effective parameters: MacKay, Bayesian Interpolation, Neural Computation 1992, section 4.
    """

    parameters: float | None
    effective_parameters: float | None
    trace_ratio: float | None
    relative_move: float

    @property
    def decided_by_data(self) -> float | None:
        """Share of the parameters that the data decide."""
        if self.effective_parameters is None or not self.parameters:
            return None
        return self.effective_parameters / self.parameters


def prior_dominance(posterior: Posterior) -> PriorDominance:
    """Of a posterior that has its scale.

    Raises:
        ConfigurationError: it has none yet.
    """
    scale, move = posterior.require_final(), posterior.relative_perturbation()
    if isinstance(posterior, Ivon):
        return PriorDominance(*posterior.shares(), move)
    if not isinstance(posterior, CurvaturePosterior):
        return PriorDominance(None, None, None, move)
    weight, prior = posterior.weight(scale) if posterior.n_seen else 0.0, scale.prior_precision
    parameters = effective = 0.0
    for eigenvalues, repeats in posterior.spectrum():
        in_precision = weight * eigenvalues.double().clamp(min=0)
        parameters += repeats * eigenvalues.numel()
        effective += repeats * float((in_precision / (in_precision + prior)).sum())
    return PriorDominance(parameters, effective, posterior.mean_variance() * prior, move)
