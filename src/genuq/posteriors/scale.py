"""Choosing the scale of a posterior from data: noise, temperature and prior precision, each with its reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.posteriors.base import Scale, require_positive
from genuq.posteriors.control import IsotropicNoise
from genuq.posteriors.last_layer import LastLayerPosterior

RIDGE = 1e-6  # of the mean eigenvalue, where the curvature is inverted without a prior


@dataclass
class HeldOutSums:
    """Sums over held-out images, additive over batches and processes.

    Attributes:
        squared_residual: sum of (f - target)^2.
        elements: how many residuals.
        gradient_outer_KK: sum over images and active channels of g g^T, g = sum_p r_p a_p.
        images: how many images.
    """

    inputs: int
    squared_residual: float = 0.0
    elements: int = 0
    images: int = 0
    gradient_outer_KK: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.gradient_outer_KK = torch.zeros(self.inputs, self.inputs, dtype=torch.float64)

    def update(self, posterior: LastLayerPosterior, features: Tensor, residual: Tensor, at_head: Tensor) -> None:
        self.squared_residual += float(residual.double().square().sum())
        self.elements += residual.numel()
        gradients_BOK = posterior.head.gradients(features.double(), at_head.double())
        flat = gradients_BOK[:, posterior.active_O.to(features.device)].flatten(0, 1)
        self.gradient_outer_KK += (flat.T @ flat).cpu()
        self.images += len(features)

    @property
    def residual_variance(self) -> float:
        return self.squared_residual / self.elements


@dataclass(frozen=True)
class ScaleOptions:
    """What the user fixes; None means: choose from data.

    Attributes:
        n_effective: default, the size of the training set.
        observation_noise: s^2; default, the held-out residual variance.
        prior_precision: lambda; default, the maximum of the log marginal likelihood.
        temperature: default, the ratio of the gradients' variance to the curvature (see `choose_temperature`).
        relative_perturbation: if given, temperature and prior are scaled so that a draw moves the weights by this
            share (root mean square), in place of the likelihood's own answer. It decides both, so that neither may
            be given beside it.

    Raises:
        ConfigurationError: an entry that is not positive, or entries that exclude each other.
    """

    n_effective: float | None = None
    observation_noise: float | None = None
    prior_precision: float | None = None
    temperature: float | None = None
    relative_perturbation: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in asdict(self).items() if value is not None}
        require_positive(given)
        if "relative_perturbation" in given and given.keys() & {"temperature", "prior_precision"}:
            raise ConfigurationError(
                "posterior.relative_perturbation decides the size of the draws; leave posterior.temperature and "
                "posterior.prior_precision null beside it."
            )

    @property
    def needs_held_out(self) -> bool:
        return self.observation_noise is None or self.temperature is None


@dataclass(frozen=True)
class ChosenScale:
    """The scale, a sentence for each entry, and the evidence curve (lambda, log marginal likelihood) if made."""

    scale: Scale
    how: dict[str, str]
    evidence: tuple[list[float], list[float]] | None


def choose_scale(
    posterior: LastLayerPosterior, held_out: HeldOutSums, training_images: int, options: ScaleOptions
) -> ChosenScale:
    """Fill in what the options leave open, in the order noise, temperature, prior precision."""
    how = {name: "given" for name in ("n_effective", "observation_noise", "temperature", "prior_precision")}
    n_effective, noise, temperature = options.n_effective, options.observation_noise, options.temperature
    if n_effective is None:
        n_effective, how["n_effective"] = float(training_images), "size of the training set"
    if noise is None:
        noise, how["observation_noise"] = choose_noise(held_out)
    if temperature is None:
        temperature, how["temperature"] = choose_temperature(posterior, held_out, noise)
    prior, evidence = options.prior_precision, None
    if isinstance(posterior, IsotropicNoise):
        prior, how["prior_precision"] = isotropic_prior(options)
    elif prior is None:
        prior, evidence = maximise_evidence(posterior, Scale(n_effective, noise, 1.0, temperature))
        how["prior_precision"] = "maximum of the log marginal likelihood"
    scale = Scale(n_effective, noise, prior, temperature)
    if options.relative_perturbation is not None:
        scale = reach_perturbation(posterior, scale, options.relative_perturbation)
        how["temperature"] = f"reaches a relative weight perturbation of {options.relative_perturbation:g}"
        how["prior_precision"] += ", divided by the factor that the temperature was raised by"
    return ChosenScale(scale, how, evidence)


def choose_noise(held_out: HeldOutSums) -> tuple[float, str]:
    """s^2, the mean squared residual on held-out images."""
    noise = held_out.residual_variance
    if not 0 < noise < float("inf"):
        raise ConfigurationError(
            f"the residual variance on {held_out.images} held-out images is {noise}. Check the weights and the data, "
            "or set posterior.observation_noise."
        )
    return noise, f"residual variance on {held_out.images} held-out images"


def isotropic_prior(options: ScaleOptions) -> tuple[float, str]:
    """lambda of isotropic noise, which no data can tell: given, or 1 before a wanted perturbation is reached."""
    if options.prior_precision is not None:
        return options.prior_precision, "given"
    if options.relative_perturbation is not None:
        return 1.0, "one"
    raise ConfigurationError(
        "isotropic noise has no likelihood to choose its size from: set posterior.prior_precision (one over the mean "
        "variance of the posterior that it controls) or posterior.relative_perturbation."
    )


def choose_temperature(posterior: LastLayerPosterior, held_out: HeldOutSums, noise: float) -> tuple[float, str]:
    """T = tr(H^-1 J) / tr(H^-1 H): how much more the gradient varies from image to image than the curvature says.

    The likelihood treats the residuals of an image's positions as independent. They are not, so that H, which sums
    over positions, overstates what an image tells; J, the covariance of whole-image gradients, does not.
    Source: magnitude adjustment of composite likelihoods, Pauli, Racugno & Ventura 2011; Ribatet et al. 2012.
    """
    if isinstance(posterior, IsotropicNoise):
        return 1.0, "no likelihood, no temperature"
    if posterior.needs == "residuals":
        return 1.0, "one: the empirical Fisher sums gradients over whole images"
    channels = int(posterior.active_O.sum())
    gradients_KK = held_out.gradient_outer_KK / (held_out.images * channels)
    size = posterior.mean_eigenvalue()
    if size == 0:
        raise ConfigurationError("the input of model.head is zero on all images: no data reach it.")
    against, own = posterior.trace_against(gradients_KK, ridge=RIDGE * size)
    temperature = posterior.n_seen * against / (own * noise)
    return temperature, f"variance of whole-image gradients over curvature, on {held_out.images} held-out images"


def maximise_evidence(posterior: LastLayerPosterior, scale: Scale) -> tuple[float, tuple[list[float], list[float]]]:
    """The prior precision with the highest log marginal likelihood, and the curve, in closed form from eigenvalues.

    log p(D | lambda) = const - 1/2 sum_i log(1 + gamma_i / lambda) - lambda / 2 |w|^2, gamma_i the eigenvalues of the
    scaled curvature. The maximum lies below K O / |w|^2 (MacKay 1992).
    """
    weights_OK = posterior.mean_OK[posterior.active_O]
    eigenvalues = posterior.eigenvalues()
    scaled = posterior.weight(scale) * eigenvalues
    repeats = len(weights_OK) / len(scaled)
    norm = float(weights_OK.square().sum())
    if norm == 0:
        raise ConfigurationError("the head's weights are all zero: train the model, or set posterior.prior_precision.")
    grid = torch.logspace(-8, 0.3, 400, dtype=torch.float64) * weights_OK.numel() / norm
    log_determinant = torch.stack([torch.log1p(scaled / precision).sum() for precision in grid])
    curve = -0.5 * (repeats * log_determinant + grid * norm)
    return float(grid[int(curve.argmax())]), (grid.tolist(), curve.tolist())


def reach_perturbation(posterior: LastLayerPosterior, scale: Scale, target: float) -> Scale:
    """Multiply the posterior's covariance by one factor so that draws have the relative perturbation `target`."""
    reached = posterior.finalise(scale).relative_perturbation()
    factor = (target / reached) ** 2
    return Scale(scale.n_effective, scale.observation_noise, scale.prior_precision / factor, scale.temperature * factor)
