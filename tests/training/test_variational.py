"""IVON against the formulas written out, a direct reading of the algorithm, `ivon-opt`, and exact posteriors."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genuq.models import GenerativeModel
from genuq.training.batches import StepBatches
from genuq.training.fine_tuning import working_copy
from genuq.training.member_settings import OnlineNewton
from genuq.training.optimisation import Optimisation
from genuq.training.variational import IvonOptimiser, VariationalTraining
from support.small_members import points, trained_model

SIZE, DELTA, RATE = 50.0, 0.3, 0.2
Loss = Callable[[Tensor], Tensor]


def noise_of(step: int, draw: int, count: int = 4) -> Tensor:
    source = torch.Generator().manual_seed(100 * step + draw)
    return torch.randn(count, generator=source, dtype=torch.float64)


def optimiser(value: nn.Parameter, settings: OnlineNewton, noise: Any = None, **group: Any) -> IvonOptimiser:
    def default(step: int, draw: int) -> list[Tensor]:
        return [noise_of(step, draw, value.numel())]

    return IvonOptimiser([{"params": [value], "delta": DELTA, **group}], RATE, SIZE, settings, noise or default)


def steps(found: IvonOptimiser, loss: Loss, count: int) -> Tensor:
    value = found.values[0]

    def closure() -> Tensor:
        value.grad = None
        result = loss(value)
        result.backward()
        return result

    for _ in range(count):
        found.step(closure)
    return value.detach()


def uneven(theta: Tensor) -> Tensor:
    """No quadratic."""
    return (theta.square() * torch.tensor([1.0, 2.0, 0.1, 4.0])).sum() / 2 + theta[0] * theta[1] + theta.sin().sum()


SETTINGS = [
    OnlineNewton(beta1=0.8, beta2=0.9, hess_init=0.5, mc_samples=1),
    OnlineNewton(beta1=0.9, beta2=0.95, hess_init=2.0, mc_samples=3, clip_radius=0.4),
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("centre", [None, torch.tensor([0.5, -1.0, 0.0, 2.0], dtype=torch.float64)])
def test_some_steps_against_a_slow_reading_of_the_algorithm(settings: OnlineNewton, centre: Tensor | None) -> None:
    """Algorithm 1, one weight after the other, derivatives by central differences."""
    start = [0.3, -0.7, 1.1, 0.2]
    mean, average, curvature = list(start), [0.0] * 4, [settings.hess_init] * 4
    for step in range(6):
        spread = [(SIZE * (h + DELTA)) ** -0.5 for h in curvature]
        gradients, estimates = [0.0] * 4, [0.0] * 4
        for draw in range(settings.mc_samples):
            xi = noise_of(step, draw).tolist()
            theta = [m + s * x for m, s, x in zip(mean, spread, xi)]
            for j in range(4):
                slope = difference(theta, j)
                gradients[j] += slope / settings.mc_samples
                estimates[j] += slope * (theta[j] - mean[j]) / spread[j] ** 2 / settings.mc_samples
        for j in range(4):
            average[j] = settings.beta1 * average[j] + (1 - settings.beta1) * gradients[j]
            old, gap = curvature[j], curvature[j] - estimates[j]
            curvature[j] = settings.beta2 * old + (1 - settings.beta2) * estimates[j]
            curvature[j] += 0.5 * (1 - settings.beta2) ** 2 * gap**2 / (old + DELTA)
            pull = DELTA * (mean[j] - (0.0 if centre is None else float(centre[j])))
            newton = (average[j] / (1 - settings.beta1 ** (step + 1)) + pull) / (curvature[j] + DELTA)
            radius = settings.clip_radius or float("inf")
            mean[j] -= RATE * max(-radius, min(radius, newton))
    value = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    found = optimiser(value, settings, centre=centre)
    assert torch.allclose(steps(found, uneven, 6), torch.tensor(mean, dtype=torch.float64), atol=1e-7)
    stated = 1 / (SIZE * (torch.tensor(curvature, dtype=torch.float64) + DELTA))
    assert torch.allclose(found.variances()[0], stated, rtol=1e-6)


def difference(theta: list[float], j: int, width: float = 1e-5) -> float:
    sides = [
        uneven(torch.tensor([t + sign * width * (i == j) for i, t in enumerate(theta)], dtype=torch.float64))
        for sign in (1, -1)
    ]
    return float(sides[0] - sides[1]) / (2 * width)


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_same_updates_as_the_authors_package(settings: OnlineNewton, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ivon-opt` with its rescaling of the learning rate off, given the same noise, in float64."""
    ivon = pytest.importorskip("ivon")
    theirs = nn.Parameter(torch.tensor([0.3, -0.7, 1.1, 0.2], dtype=torch.float64))
    reference = ivon.IVON(
        [theirs],
        lr=RATE,
        ess=SIZE,
        hess_init=settings.hess_init,
        beta1=settings.beta1,
        beta2=settings.beta2,
        weight_decay=DELTA,
        mc_samples=settings.mc_samples,
        clip_radius=settings.clip_radius or float("inf"),
        rescale_lr=False,
    )
    noises = iter([noise_of(step, draw) for step in range(8) for draw in range(settings.mc_samples)])
    with monkeypatch.context() as patched:
        patched.setattr(torch, "randn", lambda *shape, **options: next(noises))
        for _ in range(8):
            for _ in range(settings.mc_samples):
                with reference.sampled_params(train=True):
                    theirs.grad = None
                    uneven(theirs).backward()
            reference.step()
    ours = nn.Parameter(torch.tensor([0.3, -0.7, 1.1, 0.2], dtype=torch.float64))
    found = optimiser(ours, settings)
    assert torch.allclose(steps(found, uneven, 8), theirs.detach(), rtol=1e-12, atol=1e-13)
    assert torch.allclose(found.state[ours]["curvature"], reference.param_groups[0]["hess"], rtol=1e-12)


# Bayesian linear regression


def regression() -> tuple[Loss, Tensor, Tensor, Tensor, Tensor]:
    """(mean loss per datum, its Hessian, centre of the prior, posterior mean, posterior precision) in float64."""
    source, count, noise = torch.Generator().manual_seed(3), 12, 0.3
    features_NK = torch.randn(count, 3, generator=source, dtype=torch.float64)
    target_N, centre_K = (torch.randn(size, generator=source, dtype=torch.float64) for size in (count, 3))
    prior_K = count * torch.full((3,), DELTA, dtype=torch.float64)  # its precision
    precision_KK = features_NK.T @ features_NK / noise + prior_K.diag()
    mean_K = torch.linalg.solve(precision_KK, features_NK.T @ target_N / noise + prior_K * centre_K)

    def loss(theta: Tensor) -> Tensor:
        return (features_NK @ theta - target_N).square().mean() / (2 * noise)

    return loss, features_NK.T @ features_NK / noise / count, centre_K, mean_K, precision_KK


def exact_noise(step: int, draw: int) -> list[Tensor]:
    """The eight corners of a cube: with all of them means of xi and xi xi^T are those of the normal distribution."""
    return [torch.tensor(list(itertools.product([-1.0, 1.0], repeat=3))[draw], dtype=torch.float64)]


def test_it_ends_at_the_exact_diagonal_posterior_of_a_linear_model() -> None:
    """Mean: the exact one. Precision: the diagonal of the exact one, the best of all diagonal Gaussians."""
    loss, hessian_KK, centre_K, mean_K, precision_KK = regression()
    settings = OnlineNewton(beta1=0.5, beta2=0.7, hess_init=2.0, mc_samples=8)
    value = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    found = IvonOptimiser([{"params": [value], "delta": DELTA, "centre": centre_K}], 0.3, 12.0, settings, exact_noise)
    assert torch.allclose(steps(found, loss, 400), mean_K, rtol=1e-10)
    assert torch.allclose(found.state[value]["curvature"], hessian_KK.diagonal(), rtol=1e-10)
    assert torch.allclose(1 / found.variances()[0], precision_KK.diagonal(), rtol=1e-10)


def test_with_random_draws_it_ends_there_within_their_noise() -> None:
    loss, _, centre_K, mean_K, precision_KK = regression()

    def pairs(step: int, draw: int) -> list[Tensor]:
        return [(-1) ** draw * noise_of(step, 0, 3)]

    settings = OnlineNewton(beta1=0.9, beta2=0.999, hess_init=1.0, mc_samples=2)
    value = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    found = IvonOptimiser([{"params": [value], "delta": DELTA, "centre": centre_K}], 0.02, 12.0, settings, pairs)
    steps(found, loss, 6000)
    assert torch.allclose(value.detach(), mean_K, atol=1e-9)  # pairs leave no noise in the mean of a linear model
    assert torch.allclose(1 / found.variances()[0], precision_KK.diagonal(), rtol=0.1)


def test_only_the_product_of_loss_and_size_counts() -> None:
    """The mean squared error with a larger sample size is the likelihood with its own."""
    settings, scale = OnlineNewton(beta1=0.8, beta2=0.9, hess_init=0.5, mc_samples=2), 40.0
    ends = []
    for factor in (1.0, scale):
        chosen = OnlineNewton(settings.beta1, settings.beta2, settings.hess_init * factor, None, 2)
        value = nn.Parameter(torch.tensor([0.3, -0.7, 1.1, 0.2], dtype=torch.float64))
        found = IvonOptimiser(
            [{"params": [value], "delta": DELTA * factor}], RATE, SIZE / factor, chosen, lambda k, i: [noise_of(k, i)]
        )
        ends.append((steps(found, lambda theta, factor=factor: factor * uneven(theta), 6), found.variances()[0]))
    assert all(torch.allclose(one, two, rtol=1e-12) for one, two in zip(*ends))


def test_the_curvature_with_the_prior_stays_positive() -> None:
    """Whatever the gradients: here those of a maximum."""
    value = nn.Parameter(torch.tensor([0.3, -0.7, 1.1, 0.2], dtype=torch.float64))
    found = optimiser(value, OnlineNewton(beta2=0.5, clip_radius=0.1))
    for _ in range(40):
        before = found.state[value]["curvature"] + DELTA
        steps(found, lambda theta: -50 * theta.square().sum(), 1)
        assert (found.state[value]["curvature"] + DELTA >= before / 2 * (1 - 1e-12)).all()


# The training


def training(model: GenerativeModel | None = None, **options: Any) -> VariationalTraining:
    chosen = {"relative_size": 0.1, "observation_noise": 0.4, "n_effective": 50, "settings": OnlineNewton()} | options
    optimisation = Optimisation(steps=5, batch_size=16, learning_rate=1e-2, warmup_steps=1, class_dropout=0.0, seed=7)
    return VariationalTraining(working_copy(model or trained_model()), points(), optimisation, **chosen)


def test_loss_and_prior_are_those_of_the_posterior() -> None:
    """effective_size * loss is the negative log-likelihood of n_effective data, and delta its prior's share."""
    found = training()
    batch = StepBatches(points(), 16, 5, seed=7)[3]
    prediction, target = (part.detach() for part in found.predicted(batch))
    squares = sum(float((prediction[row] - target[row]).square().sum()) for row in range(16))
    likelihood = 50 / 16 * squares / (2 * 0.4)
    assert found.effective_size * float(found.batch_loss(batch).detach()) == pytest.approx(likelihood, rel=1e-5)
    groups = found.configure_optimizers()["optimizer"].param_groups
    assert [group["params"][0] is found.model.network.get_parameter(n) for group, n in zip(groups, found.names)]
    for group, (name, value) in zip(groups, trained_model().network.named_parameters()):
        size = 0.1 * float(value.detach().double().square().mean().sqrt())
        assert group["delta"] * found.effective_size == pytest.approx(1 / size**2, rel=1e-6), name


def test_draws_of_the_weights_come_in_antithetic_pairs_of_their_own() -> None:
    found = training()
    one, other, next_pair, later = (found.noise(*place) for place in ((3, 0), (3, 1), (3, 2), (4, 0)))
    assert all(torch.equal(left, -right) for left, right in zip(one, other))
    assert not torch.equal(one[0], next_pair[0]) and not torch.equal(one[0], later[0])
