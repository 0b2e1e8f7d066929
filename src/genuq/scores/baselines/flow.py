"""Two baselines from the probability flow: how much it expands volumes along a trajectory, and the likelihood.

All of it in one time for every process, the angle phi of the path: z = x_t / r and (cos phi, sin phi) =
(alpha, sigma) / r with r^2 = alpha^2 + sigma^2 turn the probability-flow ODE into

    dz / dphi = cos phi eps_hat - sin phi x0_hat,

which is bounded at both ends, where the velocity in t may not be. Volumes change by its divergence,
d log p(z) / dphi = - tr(d(dz/dphi) / dz); traces are Hutchinson's estimates, from keyed signs, in network evaluations
one forward pass and `probes` backward passes each.

Source: Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, ICLR 2021, appendix D.2;
Hutchinson 1989; the angle as in Lu and Song 2024 (TrigFlow). The scores made of it are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, Sampler, StageRecord
from genuq.parts.bounds import Count, Window
from genuq.scores.baselines.watching import StepWatcher, Watcher
from genuq.scores.registry import SCORES
from genuq.solvers import Euler
from genuq.solvers.affine import Point, linear_in_hats, points

Predict = Callable[[Tensor, float], Tensor]


@SCORES.add(
    name="divergence",
    label="Flow divergence",
    description="How much the flow expands around the sample, summed along its trajectory.",
    kind="baseline",
    source="trajectory",
)
class Divergence(StepWatcher):
    """How much the probability flow expands volumes around the trajectory on its way to the sample.

    The log-determinant of the flow's Jacobian over a window of steps, - sum_k tr_k (phi_k - phi_{k+1}): positive
    where the sampler spreads its noise out, so that it leaves little density there.

    Args:
        probes: Hutchinson's, for each trace.
    """

    def __init__(
        self,
        model: GenerativeModel,
        sampler: Sampler,
        indices: Sequence[int],
        probes: Count = 1,
        window: Window = (0.0, 1.0),
    ) -> None:
        super().__init__(model, sampler, indices, window)
        _require_own_flow("divergence", sampler)
        self.probes, self.sources = _require_probes(probes), self.keyed("divergence probe")
        self.total_B = torch.zeros(len(indices), dtype=torch.float64)

    def look(self, record: StageRecord) -> None:
        times = [record.stage.t, self.ends[self.step]]
        here, there = points(self.model.process, self.model.prediction, times)
        _, trace_B = velocity_and_trace(self.predict, here, record.states[0], self.sources, self.probes)
        self.total_B -= trace_B.cpu() * (angle(here) - angle(there))

    def score(self) -> Tensor:
        return self.total_B


@SCORES.add(
    name="likelihood",
    label="Negative log-likelihood",
    description="How improbable the sample is under the model's own flow; measured by solving the flow backwards.",
    kind="baseline",
    source="trajectory",
    keys={"steps": "likelihood_steps"},
    internal=frozenset({"noise_level"}),
)
class LogLikelihood(Watcher):
    """Minus the log-likelihood in nats of the finished sample, under the flow that the (guided) network defines.

    A negative control: likelihood tells mostly how simple an image is. For latent models it is that of the latent,
    without the decoder. See `negative_log_likelihood`.

    Args:
        steps: Heun's, from the sample back to the noise; 2 evaluations each.
        probes: Hutchinson's, for each trace; 1 backward pass each and step.
        noise_level: see `likelihood_nodes`.
    """

    def __init__(
        self,
        model: GenerativeModel,
        sampler: Sampler,
        indices: Sequence[int],
        steps: Count = 20,
        probes: Count = 1,
        noise_level: float = 0.01,
    ) -> None:
        super().__init__(model, sampler, indices)
        _require_own_flow("likelihood", sampler)
        self.nodes, self.probes = likelihood_nodes(model, steps, noise_level), _require_probes(probes)
        self.result = torch.empty(0)

    def __call__(self, record: StageRecord) -> None:
        self.result = record.result

    def score(self) -> Tensor:
        return negative_log_likelihood(
            self.predict, self.result, self.nodes, self.keyed("likelihood probe"), self.probes
        )


def negative_log_likelihood(
    predict: Predict, latents: Tensor, nodes: Sequence[Point], sources: Sequence[torch.Generator], probes: int = 1
) -> Tensor:
    """-log p in nats of latents (B, ...), by Heun's method from the data to the noise; (B,) float64.

    p is the density of the model's samples under a little Gaussian noise, that of the first node: without it images,
    which lie on grey levels and near a manifold, have none.

    Args:
        predict: (x, t) -> the prediction of the model's network, with its class and guidance.
        nodes: see `likelihood_nodes`; T steps cost 2 T + 1 forward and (T + 1) probes backward passes.
        sources: of the probes, a generator for each latent.
        probes: Hutchinson's, for each trace.
    """
    blur, dimension = nodes[0], latents[0].numel()
    z = latents * math.cos(angle(blur))
    log_volume_B = torch.full((len(z),), dimension * math.log(math.cos(angle(blur))), dtype=torch.float64)
    velocity, trace_B = velocity_and_trace(predict, blur, z * radius(blur), sources, probes)
    for here, there in pairwise(nodes):
        step = angle(there) - angle(here)
        guess = z + step * velocity
        z = z + step / 2 * (velocity + flow_velocity(predict, there, guess * radius(there)))
        before_B = trace_B
        velocity, trace_B = velocity_and_trace(predict, there, z * radius(there), sources, probes)
        log_volume_B += step / 2 * (before_B + trace_B).cpu()
    squares_B = z.double().square().flatten(1).sum(1).cpu()
    return (squares_B + dimension * math.log(2 * math.pi)) / 2 - log_volume_B


def likelihood_nodes(model: GenerativeModel, steps: int, noise_level: float) -> list[Point]:
    """Points of the path from sigma / alpha = noise_level up to the noise, in equal ratios of the angle.

    Args:
        noise_level: standard deviation in units of the latents; 0.01 is about one grey level.

    Raises:
        ConfigurationError: fewer than one step, or a noise level that the path does not have.
    """
    process, last_t = model.process, Euler().start(model.process, model.prediction)
    (end,) = points(process, model.prediction, [last_t])
    first, last = math.atan(noise_level), angle(end)
    if steps < 1 or not 0 < first < last:
        raise ConfigurationError(
            f"score.likelihood_steps = {steps} from noise_level = {noise_level}; at least 1 step is needed, from a "
            "level above 0 and below the end of the path."
        )
    angles = torch.logspace(math.log(first), math.log(last), steps + 1, base=math.e, dtype=torch.float64)[:-1]
    return [*points(process, model.prediction, process.time_at(-angles.tan().log())), end]


def angle(here: Point) -> float:
    """phi in radians: 0 at the data, pi / 2 where nothing of them is left."""
    return math.atan2(here.sigma, here.alpha)


def radius(here: Point) -> float:
    return math.hypot(here.alpha, here.sigma)


def _velocity_weights(here: Point) -> tuple[float, float]:
    """(a, b) of dz / dphi = a x + b f."""
    r = radius(here)
    return linear_in_hats(here, x0=-here.sigma / r, eps=here.alpha / r)


def flow_velocity(predict: Predict, here: Point, x: Tensor) -> Tensor:
    """dz / dphi at states x (B, ...) of one time."""
    on_x, on_f = _velocity_weights(here)
    return on_x * x + on_f * predict(x, here.t)


def velocity_and_trace(
    predict: Predict, here: Point, x: Tensor, sources: Sequence[torch.Generator], probes: int = 1
) -> tuple[Tensor, Tensor]:
    """(dz / dphi, the trace of its Jacobian in z (B,) float64) at states x (B, ...) of one time."""
    on_x, on_f = _velocity_weights(here)
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        prediction = predict(x, here.t)
        traces = []
        for probe in range(probes):
            sign = _signs(sources, x)
            (pulled,) = torch.autograd.grad(prediction, x, sign, retain_graph=probe + 1 < probes)
            traces.append((sign * pulled).double().flatten(1).sum(1))
    trace_B = radius(here) * (on_x * x[0].numel() + on_f * torch.stack(traces).mean(0))
    return (on_x * x + on_f * prediction).detach(), trace_B


def _signs(sources: Sequence[torch.Generator], like: Tensor) -> Tensor:
    """-1 or 1 with equal probability, of the shape and type of `like`, row b from generator b."""
    bits = [torch.randint(0, 2, like.shape[1:], generator=source) for source in sources]
    return (2 * torch.stack(bits) - 1).to(like)


def _require_own_flow(name: str, sampler: Sampler) -> None:
    """Raise ConfigurationError where the sampler follows another flow than that of the network's predictions."""
    if sampler.clip_x0:
        raise ConfigurationError(
            f"score '{name}' is of the network's own flow, which sampler.clip_x0 = true leaves. Set it to false, or "
            "remove the score."
        )


def _require_probes(probes: int) -> int:
    if probes < 1:
        raise ConfigurationError(f"score.probes = {probes}; Hutchinson's estimate needs at least 1.")
    return probes
