"""Scores of the path and of the probe as their formulas read: one sample, state and set of weights at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from genuq.models import GenerativeModel, Sampler, StageRecord, sample_latents
from genuq.posteriors import DeepEnsemble, IsotropicNoise, NetworkNoise, Posterior, Scale
from genuq.randomness import generator
from support.watched_models import CLASSES

Weights = Mapping[str, Tensor]
OWN: Weights = {}


def posterior_of(kind: str, model: GenerativeModel) -> Posterior:
    """Weight noise over the network or the head, or three networks."""
    if kind == "network":
        return NetworkNoise(model.network).finalise(Scale(1.0, 1.0, prior_precision=400.0))
    if kind == "head":
        return IsotropicNoise(model.head).finalise(Scale(1.0, 1.0, prior_precision=400.0))
    ensemble = DeepEnsemble(model.network)
    for number in range(3):
        torch.manual_seed(number)
        ensemble.update({n: w.detach() + 0.05 * torch.randn_like(w) for n, w in model.network.named_parameters()})
    return ensemble.finalise(Scale(1.0, 1.0, 1.0))


def drawn(model: GenerativeModel, posterior: Posterior, count: int, seed: int) -> list[Weights]:
    """Weights of the whole network, by name."""
    prefix = f"{model.head_name}." if posterior.scope == "head" else ""
    names = {name: f"{prefix}{name}" for name in posterior.draw(0, seed)}
    return [{names[name]: value for name, value in posterior.draw(m, seed).items()} for m in range(count)]


def weak_weights(model: GenerativeModel) -> dict[str, Tensor]:
    torch.manual_seed(99)
    return {name: value.detach() + 0.1 * torch.randn_like(value) for name, value in model.network.named_parameters()}


def asked_of(model: GenerativeModel, weights: Weights, x: Tensor, t: float, label: int) -> tuple[Tensor, Tensor]:
    """(x0_hat, eps_hat) of a state x, each type's formula written out."""
    x = x.double()
    arguments = (x[None], torch.tensor([t], dtype=torch.float64), torch.tensor([label]))
    with torch.no_grad():
        f = functional_call(model.network, dict(weights), arguments)[0]
    alpha, sigma = float(model.process.alpha(t)), float(model.process.sigma(t))
    if model.prediction == "epsilon":
        return (x - sigma * f) / alpha, f
    if model.prediction == "sample":
        return f, (x - alpha * f) / sigma
    if model.prediction == "v_prediction":
        return alpha * x - sigma * f, sigma * x + alpha * f
    return x - sigma * f, x + (1 - sigma) * f  # flow matching


def features(images: Tensor) -> Tensor:
    """A small encoder of images in [-1, 1], (B, C, H, W) to (B, 5)."""
    mixing = torch.linspace(-1, 1, 5 * images[0].numel(), dtype=torch.float64).reshape(5, -1)
    return torch.tanh(images.double().flatten(1) @ mixing.sin().T)


def seen(model: GenerativeModel, x0: Tensor) -> Tensor:
    """The features of a clean latent, once it is a finished image."""
    image = model.autoencoder.decode(x0[None])
    return features((image.clamp(-1, 1) if len(model.shape) == 3 else image).float())[0]


def spread(values: Sequence[Tensor]) -> float:
    """Biased variance over a list, summed over dimensions."""
    mean = sum(values[1:], values[0]) / len(values)
    return float(sum(((value - mean) ** 2).sum() for value in values)) / len(values)


def parts_of(rows: Sequence[Sequence[float]]) -> tuple[float, float]:
    """(between, within) variance of a table of numbers, by its mean squares: rows are weights, columns noises."""
    count, many = len(rows), len(rows[0])
    row_means, grand = [sum(row) / many for row in rows], sum(map(sum, rows)) / (count * many)
    column_means = [sum(row[p] for row in rows) / count for p in range(many)]
    mean_square = many * sum((mean - grand) ** 2 for mean in row_means) / (count - 1)
    rest = sum(
        (rows[m][p] - row_means[m] - column_means[p] + grand) ** 2 for m in range(count) for p in range(many)
    ) / ((count - 1) * (many - 1))
    within = sum(sum((value - mean) ** 2 for value in row) for row, mean in zip(rows, row_means))
    return (mean_square - rest) / many, within / (count * (many - 1))


class SlowPath:
    """The path of one sample."""

    def __init__(self, model: GenerativeModel, sampler: Sampler, index: int) -> None:
        records: list[StageRecord] = []
        sample_latents(model, sampler, [index], observers=[records.append])
        starts = [
            record for place, record in enumerate(records) if place == 0 or not records[place - 1].stage.intermediate
        ]
        self.model, self.label = model, index % CLASSES
        self.states = [(record.states[0][0], record.stage.t) for record in starts]

    def disagreement(self, steps: Sequence[int], members: Sequence[Weights], semantic: bool = False) -> float:
        total = 0.0
        for step in steps:
            hats = [asked_of(self.model, weights, *self.states[step], self.label)[0] for weights in (OWN, *members)]
            total += spread([seen(self.model, x0) for x0 in hats] if semantic else hats)
        return total / len(steps)

    def guidance_gap(self, steps: Sequence[int]) -> float:
        total = 0.0
        for step in steps:
            own, null = (asked_of(self.model, OWN, *self.states[step], y)[1] for y in (self.label, CLASSES))
            total += float(((own - null) ** 2).mean())
        return total

    def weak_gap(self, steps: Sequence[int], weak: Weights) -> float:
        total = 0.0
        for step in steps:
            own, other = (asked_of(self.model, w, *self.states[step], self.label)[0] for w in (OWN, weak))
            total += float(((own - other) ** 2).sum())
        return total


class SlowProbe:
    """One finished sample, noised again."""

    def __init__(self, model: GenerativeModel, sample: Tensor, index: int, seed: int) -> None:
        self.model, self.label = model, index % CLASSES
        self.latent = model.autoencoder.encode(sample[None].double())[0]
        self.seed, self.index = seed, index
        self.answers: dict[tuple[int, int, float, bytes], tuple[Tensor, Tensor]] = {}

    def asked(self, weights: Weights, x: Tensor, t: float, label: int) -> tuple[Tensor, Tensor]:
        """`asked_of`, once for each question."""
        question = id(weights), label, t, x.numpy().tobytes()
        if question not in self.answers:
            self.answers[question] = asked_of(self.model, weights, x, t, label)
        return self.answers[question]

    def noised(self, level: float, noisings: int) -> list[tuple[Tensor, Tensor, float]]:
        """(x_t, noise, t) of each noising at sigma / (alpha + sigma) = level."""
        source = generator(self.seed, self.index, "re-noising probe")
        drawn = [torch.randn(self.latent.shape, generator=source).double() for _ in range(noisings // 2)]
        t = self.time(level)
        alpha, sigma = float(self.model.process.alpha(t)), float(self.model.process.sigma(t))
        return [(alpha * self.latent + sigma * xi, xi, t) for noise in drawn for xi in (noise, -noise)]

    def time(self, level: float) -> float:
        """By bisection."""
        low, high = 0.0, 1.0
        for _ in range(200):
            middle = (low + high) / 2
            alpha, sigma = float(self.model.process.alpha(middle)), float(self.model.process.sigma(middle))
            low, high = (middle, high) if sigma / (alpha + sigma) < level else (low, middle)
        return low

    def disagreement(self, level: float, noisings: int, members: Sequence[Weights], semantic: bool = False) -> float:
        total = 0.0
        for x, _, t in self.noised(level, noisings):
            hats = [self.asked(weights, x, t, self.label)[0] for weights in (OWN, *members)]
            total += spread([seen(self.model, x0) for x0 in hats] if semantic else hats)
        return total / noisings

    def epistemic(
        self, level: float, pairs: int, members: Sequence[Weights], semantic: bool = False
    ) -> tuple[float, float]:
        """(between weights, whole) variance, one dimension after the other, from the sums of squares of a table."""
        states = self.noised(level, 2 * pairs)

        def hat(weights: Weights, k: int) -> Tensor:
            x0 = self.asked(weights, states[k][0], states[k][2], self.label)[0]
            return (seen(self.model, x0) if semantic else x0).flatten()

        table = [[(hat(weights, 2 * p) + hat(weights, 2 * p + 1)) / 2 for p in range(pairs)] for weights in members]
        between = whole = 0.0
        for d in range(len(table[0][0])):
            rows = [[float(value[d]) for value in row] for row in table]
            one, other = parts_of(rows)
            between, whole = between + one, whole + one + other
        return between, whole

    def loss(self, level: float, noisings: int, label: int | None = None) -> float:
        label = self.label if label is None else label
        losses = [((self.asked(OWN, x, t, label)[1] - xi) ** 2).mean() for x, xi, t in self.noised(level, noisings)]
        return float(sum(losses)) / noisings

    def margin(self, level: float, noisings: int) -> float:
        others = [self.loss(level, noisings, label) for label in range(CLASSES) if label != self.label]
        return self.loss(level, noisings) - min(others)

    def norm(self, level: float, noisings: int) -> float:
        norms = [(self.asked(OWN, x, t, self.label)[1] ** 2).mean() for x, _, t in self.noised(level, noisings)]
        return float(sum(norms)) / noisings

    def null_gap(self, level: float, noisings: int) -> float:
        total = 0.0
        for x, _, t in self.noised(level, noisings):
            own, null = (self.asked(OWN, x, t, y)[1] for y in (self.label, CLASSES))
            total += float(((own - null) ** 2).mean())
        return total / noisings


def rows_of(model: GenerativeModel) -> list[int]:
    """A list that grows by the rows of every call of the network."""
    rows: list[int] = []
    model.network.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    return rows
