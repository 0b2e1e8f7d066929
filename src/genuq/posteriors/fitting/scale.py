"""Choosing the scale of a posterior from data: noise, temperature and prior precision, each with its reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated

import torch

from genuq.errors import ConfigurationError
from genuq.parts.bounds import OneOf, Positive, check_fields
from genuq.posteriors.base import CurvaturePosterior, Posterior, Scale
from genuq.posteriors.control import IsotropicNoise
from genuq.posteriors.fitting.held_out import HeldOutSums, PredictiveCurve, ridge_of
from genuq.posteriors.last_layer import LastLayerPosterior

CRITERIA = ("evidence", "predictive", "perturbation")


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

    n_effective: Positive | None = None
    observation_noise: Positive | None = None
    prior_precision: Positive | None = None
    temperature: Positive | None = None
    relative_perturbation: Positive | None = None
    criterion: Annotated[str, OneOf(*CRITERIA)] = "evidence"

    def __post_init__(self) -> None:
        check_fields(self, "posterior")
        given = {name: value for name, value in asdict(self).items() if value is not None and name != "criterion"}
        if (self.relative_perturbation is None) == (self.criterion == "perturbation") and self.criterion != "evidence":
            raise ConfigurationError(
                "posterior.criterion=perturbation and posterior.relative_perturbation belong together: give both, or "
                f"neither (criterion = '{self.criterion}', relative_perturbation = {self.relative_perturbation})."
            )
        if "relative_perturbation" in given and given.keys() & {"temperature", "prior_precision"}:
            raise ConfigurationError(
                "posterior.relative_perturbation decides the size of the draws; leave posterior.temperature and "
                "posterior.prior_precision null beside it."
            )

    @property
    def needs_held_out(self) -> bool:
        unknown = self.observation_noise is None or self.temperature is None
        return unknown or self.criterion == "predictive"


@dataclass(frozen=True)
class ChosenScale:
    """The scale and how it came about.

    Attributes:
        scale: the scale.
        how: a sentence for each entry.
        evidence: (lambda, log marginal likelihood), if made.
        criterion: what decided the size of the draws: a name of `CRITERIA`; `given`, by the options; `match` or
            `members`, where another posterior or the spread of members did.
        predictive: (factor of the covariance, held-out log predictive density per element), if made.
        noise_profile: s^2 of equal bins of time, where there is more than one.
    """

    scale: Scale
    how: dict[str, str]
    evidence: tuple[list[float], list[float]] | None
    criterion: str = "given"
    predictive: tuple[list[float], list[float]] | None = None
    noise_profile: list[float] | None = None


def choose_scale(
    posterior: Posterior, held_out: HeldOutSums, training_images: int, options: ScaleOptions
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
    elif not isinstance(posterior, CurvaturePosterior):
        prior, how["prior_precision"] = prior or 1.0, how["prior_precision"] if prior else "one: no prior takes part"
    elif prior is None:
        prior, evidence = maximise_evidence(posterior, Scale(n_effective, noise, 1.0, temperature))
        how["prior_precision"] = "maximum of the log marginal likelihood"
    scale, criterion = Scale(n_effective, noise, prior, temperature), "evidence" if evidence else "given"
    chosen = ChosenScale(scale, how, evidence, criterion, noise_profile=profile(held_out))
    if options.relative_perturbation is None:
        return chosen
    factor = factor_to_reach(posterior.finalise(chosen.scale), options.relative_perturbation)
    reason = f"reaches a relative weight perturbation of {options.relative_perturbation:g}"
    return replace(widened(chosen, factor, reason), criterion="perturbation")


def profile(held_out: HeldOutSums) -> list[float] | None:
    """s^2 over time, where the residuals were binned."""
    return held_out.residual_variances().tolist() if held_out.bins > 1 else None


def noise_weights(held_out: HeldOutSums, noise: float) -> torch.Tensor:
    """s^2 / s^2(t) of each bin, (T,): what multiplies the curvature of the images in it."""
    if held_out.bins == 1:
        return torch.ones(1, dtype=torch.float64)
    return noise / held_out.residual_variances()


def widened(chosen: ChosenScale, factor: float, reason: str) -> ChosenScale:
    """The covariance multiplied by one factor: temperature times, prior precision over it."""
    scale = chosen.scale
    scale = replace(scale, prior_precision=scale.prior_precision / factor, temperature=scale.temperature * factor)
    how = chosen.how | {
        "temperature": reason,
        "prior_precision": chosen.how["prior_precision"] + ", divided by the factor that the temperature was raised by",
    }
    return replace(chosen, scale=scale, how=how)


def by_prediction(chosen: ChosenScale, curve: PredictiveCurve) -> ChosenScale:
    """The covariance multiplied by the factor with the highest held-out predictive density."""
    factor = curve.best()
    tried = curve.factors_G.tolist()
    edge = " (the edge of what was tried)" if factor in (tried[0], tried[-1]) else ""
    reason = f"{chosen.how['temperature']}, times {factor:.3g}{edge}: maximum of the held-out log predictive density"
    points = (tried, curve.curve().tolist())
    return replace(widened(chosen, factor, reason), criterion="predictive", predictive=points)


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


def choose_temperature(posterior: Posterior, held_out: HeldOutSums, noise: float) -> tuple[float, str]:
    """T = tr(H^-1 J) / tr(H^-1 H): how much more the gradient varies from image to image than the curvature says.

    The likelihood treats the residuals of an image's positions as independent. They are not, so that H, which sums
    over positions, overstates what an image tells; J, the covariance of whole-image gradients, does not.
    Over several layers H is itself approximated, from few images; there the denominator is what held-out images give
    for residuals that are independent, so that an error of H cancels.
    Source: magnitude adjustment of composite likelihoods, Pauli, Racugno & Ventura 2011; Ribatet et al. 2012.
    """
    if isinstance(posterior, IsotropicNoise) or not isinstance(posterior, CurvaturePosterior):
        return 1.0, "one: no likelihood takes part"
    if posterior.needs == "residuals":
        return 1.0, "one: the empirical Fisher sums gradients over whole images"
    ridge = ridge_of(posterior)
    if ridge == 0:
        raise ConfigurationError("the input of the posterior's layers is zero on all images: no data reach them.")
    if isinstance(posterior, LastLayerPosterior):
        channels = int(posterior.active_O.sum())
        gradients_KK = held_out.gradient_outer(noise_weights(held_out, noise)) / (held_out.images * channels)
        against, own = posterior.trace_against(gradients_KK, ridge=ridge)
        temperature = posterior.n_seen * against / (own * noise)
    else:
        temperature = held_out.mahalanobis / (held_out.expected * noise)
    return temperature, f"variance of whole-image gradients over curvature, on {held_out.images} held-out images"


def maximise_evidence(posterior: CurvaturePosterior, scale: Scale) -> tuple[float, tuple[list[float], list[float]]]:
    """The prior precision with the highest log marginal likelihood, and the curve, in closed form from eigenvalues.

    log p(D | lambda) = const - 1/2 sum_i log(1 + gamma_i / lambda) - lambda / 2 |w|^2, gamma_i the eigenvalues of the
    scaled curvature. The maximum lies below P / |w|^2 for P weights w (MacKay 1992).
    """
    groups = posterior.spectrum()
    weight = posterior.weight(scale)
    count = sum(values.numel() * repeats for values, repeats in groups)
    norm = posterior.mean_square() * count
    if norm == 0:
        raise ConfigurationError("the weights are all zero: train the model, or set posterior.prior_precision.")
    grid = torch.logspace(-8, 0.3, 400, dtype=torch.float64) * count / norm
    log_determinant = torch.zeros_like(grid)
    for values, repeats in groups:
        scaled = (weight * values).flatten()
        log_determinant += repeats * torch.stack([torch.log1p(scaled / precision).sum() for precision in grid])
    curve = -0.5 * (log_determinant + grid * norm)
    return float(grid[int(curve.argmax())]), (grid.tolist(), curve.tolist())


def factor_to_reach(posterior: Posterior, target: float) -> float:
    """The factor of a finalised posterior's covariance with which draws have the relative perturbation `target`.

    Raises:
        ConfigurationError: no factor reaches it: the posterior moves nothing, or its mean alone lies that far off.
    """
    reached, shift = posterior.relative_perturbation(), posterior.relative_shift()
    if shift and target <= shift:
        raise ConfigurationError(
            f"posterior.relative_perturbation = {target:g}: the mean of posterior '{posterior.kind}' moves the weights "
            f"by {shift:.3g} already. Choose more than that, or leave it null."
        )
    if reached <= shift:
        raise ConfigurationError(
            f"posterior '{posterior.kind}' moves no weight: leave posterior.relative_perturbation null."
        )
    return (target**2 - shift**2) / (reached**2 - shift**2)
