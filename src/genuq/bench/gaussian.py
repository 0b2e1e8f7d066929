"""A model whose posterior variance is known exactly: independent Gaussian pixels, the analytic score, a linear head.

Pixel i of the data is N(m_i, s_i^2), so that E[f | x_t] = slope_i(t) x_t + intercept_i(t). The head is a 1x1
convolution over the two features (E[f | x_t], x_t) with the trained weights (1, 0) and bias 0, every one of which the
posterior moves independently by the same deviation: f = (1 + v_1) E[f | x_t] + v_2 x_t + v_3, for all pixels alike.
Everything here is per pixel and written without genuq.propagators.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genuq.models import GenerativeModel
from genuq.posteriors import IsotropicNoise, Scale
from genuq.processes import Process
from genuq.processes.prediction import target_coefficients
from genuq.solvers import AffineStage, apply

SHAPE = (1, 8, 8)


class GaussianNetwork(nn.Module):
    """The exact prediction for Gaussian data, as the head sees it.

    Args:
        rotation: orthogonal (P, P); the data are independent in its coordinates. None: pixels are independent.
        deviation: of every pixel. None: one between 0.2 and 1.2 each.
    """

    mean: Tensor
    deviation: Tensor
    rotation: Tensor

    def __init__(
        self, process: Process, prediction: str, rotation: Tensor | None = None, deviation: float | None = None
    ) -> None:
        super().__init__()
        self.process, self.prediction = process, prediction
        self._lines: dict[float, tuple[Tensor, Tensor]] = {}
        source = torch.Generator().manual_seed(0)
        self.register_buffer("mean", 0.5 * torch.randn(SHAPE, generator=source))
        deviations = 0.2 + torch.rand(SHAPE, generator=source)
        self.register_buffer("deviation", deviations if deviation is None else torch.full(SHAPE, deviation))
        pixels = self.mean.numel()
        self.register_buffer("rotation", torch.eye(pixels) if rotation is None else rotation.float())
        self.head = nn.Conv2d(2, 1, 1)
        self.head.load_state_dict({"weight": torch.tensor([[[[1.0]], [[0.0]]]]), "bias": torch.zeros(1)})

    def line(self, t: float) -> tuple[Tensor, Tensor]:
        """(slope, intercept) of E[f | x_t], float64, in the coordinates in which the data are independent."""
        if t not in self._lines:
            self._lines[t] = self._line(t)
        return self._lines[t]

    def _line(self, t: float) -> tuple[Tensor, Tensor]:
        alpha, sigma = (float(number) for number in (self.process.alpha(t), self.process.sigma(t)))
        on_data, on_noise = (float(number) for number in target_coefficients(self.prediction, self.process, t))
        mean, variance = self.mean.double(), self.deviation.double().square()
        slope = (on_data * alpha * variance + on_noise * sigma) / (alpha**2 * variance + sigma**2)
        return slope, (on_data - slope * alpha) * mean

    def rotated(self, x: Tensor, back: bool = False) -> Tensor:
        rotation = (self.rotation.T if back else self.rotation).to(x.dtype)
        return (x.flatten(-3) @ rotation).reshape(x.shape)

    def forward(self, x: Tensor, t_B: Tensor, y_B: Tensor | None = None) -> Tensor:
        slope, intercept = (number.to(x.dtype) for number in self.line(float(t_B[0])))
        exact = self.rotated(slope * self.rotated(x) + intercept, back=True)
        return self.head(torch.cat([exact, x], dim=1))


@dataclass(frozen=True)
class GaussianCase:
    """The model with a posterior, and the truth about it.

    Attributes:
        noise: standard deviation of each of the three weights of the head.
    """

    model: GenerativeModel
    posterior: IsotropicNoise
    noise: float

    @property
    def network(self) -> GaussianNetwork:
        network = self.model.network
        assert isinstance(network, GaussianNetwork)
        return network

    def weights_independent(
        self, stages: Sequence[AffineStage], start: Tensor, noises: Sequence[Tensor | None] | None = None
    ) -> Tensor:
        """V[x_0] (B, ...) if every evaluation has weights of its own, in closed form: a sum over impulse responses.

        The change of evaluation s has variance noise^2 (E f^2 + E x^2 + 1) and reaches x_0 through a fixed linear map.
        Only for independent pixels.

        Args:
            noises: ancestral noise of each stage where it is given; None: it is random and counts into V.
        """
        mean_x, mean_f = self._means(stages, start.double(), noises or [None] * len(stages))
        slopes = [self.network.line(stage.t)[0] for stage in stages]
        responses: list[tuple[list[Tensor], Tensor]] = []  # of each source: the states that it changes, its variance
        for number, (stage, slope) in enumerate(zip(stages, slopes)):
            variance_x = _total(responses, number, start)
            seconds = mean_f[number].square() + slope.square() * variance_x + mean_x[number].square() + variance_x
            for kind, variance in (
                ("f", self.noise**2 * (seconds + 1)),
                ("x", torch.full_like(seconds, stage.noise**2)),
            ):
                if kind == "f" or (noises is None and stage.noise):
                    responses.append((_response(stages, slopes, number, kind), variance))
        return _total(responses, len(stages), start)

    def weights_independent_of_dependent_pixels(self, stages: Sequence[AffineStage], start: Tensor) -> Tensor:
        """The same for a rotated case: the whole covariance matrix through a first-order, deterministic solver.

        Cov' = T Cov T^T + B^2 noise^2 (E[f f^T] + E[x x^T] + 1 1^T), T = A + B J.
        """
        x, basis = start.double().flatten(1), self.network.rotation.double()
        covariance = torch.zeros(*x.shape, x.shape[1], dtype=torch.float64)
        for stage in stages:
            slope, intercept = (number.flatten() for number in self.network.line(stage.t))
            jacobian = basis @ slope.diag() @ basis.T
            f = x @ jacobian + intercept @ basis.T
            second = (
                f[:, :, None] * f[:, None] + jacobian @ covariance @ jacobian + x[:, :, None] * x[:, None] + covariance
            )
            step = stage.x[0] * torch.eye(len(basis), dtype=torch.float64) + stage.f[0] * jacobian
            covariance = step @ covariance @ step + (stage.f[0] * self.noise) ** 2 * (second + 1)
            x = stage.x[0] * x + stage.f[0] * f
        return covariance.diagonal(dim1=1, dim2=2).reshape(start.shape)

    def _means(
        self, stages: Sequence[AffineStage], x: Tensor, noises: Sequence[Tensor | None]
    ) -> tuple[list[Tensor], list[Tensor]]:
        states: list[Tensor] = [x]
        predictions: list[Tensor] = []
        for stage, noise in zip(stages, noises):
            slope, intercept = self.network.line(stage.t)
            predictions.append(slope * states[-1] + intercept)
            quiet = _quiet(stage, states[:-3:-1], predictions[:-3:-1])
            states.append(quiet if noise is None else quiet + stage.noise * noise)
        return states, predictions

    def weights_shared(self, stages: Sequence[AffineStage], start: Tensor, noises: Sequence[Tensor | None]) -> Tensor:
        """V[x_0] (B, ...) if one weight draw holds for the whole trajectory, the ancestral noise given.

        By Gauss-Hermite quadrature with five nodes in each of the three weights: exact for polynomials of degree 9.
        """
        nodes, masses = _gauss_hermite()
        total = squares = torch.zeros_like(start, dtype=torch.float64)
        for chosen in itertools.product(range(len(nodes)), repeat=3):
            mass = float(torch.stack([masses[i] for i in chosen]).prod())
            final = self.sampled(stages, start.double(), noises, self.noise * nodes[list(chosen)])
            total, squares = total + mass * final, squares + mass * final.square()
        return squares - total.square()

    def sampled(
        self,
        stages: Sequence[AffineStage],
        x: Tensor,
        noises: Sequence[Tensor | None],
        weights: Tensor,
        fresh: bool = False,
    ) -> Tensor:
        """x_0 from the start x under the weight changes (3,), or (S, 3, ...) where each evaluation has `fresh` ones."""
        states: list[Tensor] = []
        predictions: list[Tensor] = []
        for number, stage in enumerate(stages):
            slope, intercept = self.network.line(stage.t)
            states = [x, *states][:2]
            exact = self.network.rotated(slope * self.network.rotated(x) + intercept, back=True)
            v = weights[number] if fresh else weights
            predictions = [exact * (1 + v[0]) + v[1] * x + v[2], *predictions][:2]
            x = apply(stage, states, predictions, noises[number])
        return x


def gaussian_case(
    process: Process,
    prediction: str,
    noise: float = 0.01,
    rotation: Tensor | None = None,
    deviation: float | None = None,
) -> GaussianCase:
    """A case with weight deviation `noise` in each of the head's weights."""
    network = GaussianNetwork(process, prediction, rotation, deviation)
    model = GenerativeModel(network, SHAPE, process, prediction)
    posterior = IsotropicNoise(model.head)
    posterior.update(torch.zeros(1, 2, *SHAPE[1:]))
    posterior.finalise(Scale(n_effective=1, observation_noise=1.0, prior_precision=noise**-2))
    return GaussianCase(model.eval(), posterior, noise)


def random_rotation() -> Tensor:
    """An orthogonal matrix over the pixels, always the same."""
    pixels = SHAPE[1] * SHAPE[2]
    source = torch.Generator().manual_seed(0)
    return torch.linalg.qr(torch.randn(pixels, pixels, generator=source, dtype=torch.float64))[0]


def _response(stages: Sequence[AffineStage], slopes: Sequence[Tensor], source: int, kind: str) -> list[Tensor]:
    """States 0 .. S after a unit change of prediction `source` (f), or of the state that stage `source` makes (x)."""
    states, predictions = [torch.zeros_like(slopes[0])], []
    for number, (stage, slope) in enumerate(zip(stages, slopes)):
        hit = 1.0 if number == source else 0.0
        predictions.append(slope * states[-1] + (hit if kind == "f" else 0.0))
        states.append(_quiet(stage, states[:-3:-1], predictions[:-3:-1]) + (hit if kind == "x" else 0.0))
    return states


def _quiet(stage: AffineStage, states: Sequence[Tensor], predictions: Sequence[Tensor]) -> Tensor:
    first, *others = [weight * tensor for weight, tensor in [*zip(stage.x, states), *zip(stage.f, predictions)]]
    return sum(others, start=first)


def _total(responses: Sequence[tuple[list[Tensor], Tensor]], number: int, like: Tensor) -> Tensor:
    total = torch.zeros_like(like, dtype=torch.float64)
    for states, variance in responses:
        total = total + states[number].square() * variance
    return total


def _gauss_hermite() -> tuple[Tensor, Tensor]:
    """Nodes and masses of a five-point rule for N(0, 1)."""
    import numpy as np

    nodes, masses = np.polynomial.hermite_e.hermegauss(5)
    return torch.from_numpy(nodes), torch.from_numpy(masses / masses.sum())
