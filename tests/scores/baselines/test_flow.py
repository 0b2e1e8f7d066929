"""Divergence and likelihood: closed forms of the Gaussian case, and explicit Jacobians of a random network."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.models import Sampler, StageRecord, evaluating, sample_latents
from genuq.randomness import generator, generators
from genuq.scores.baselines import Divergence, LogLikelihood, likelihood_nodes, negative_log_likelihood, watch
from genuq.solvers import DDIM, DDPM, DPMSolver2, Euler, Heun
from support.gaussian_toy import DEVIATION, MEAN, PATHS
from support.watched_models import exact_model, random_model

KINDS = [(path, prediction) for path in PATHS for prediction in ("epsilon", "sample", "v_prediction", "flow")]


def closed_form(x: torch.Tensor, noise_level: float) -> torch.Tensor:
    """-log density of the toy's data with Gaussian noise of `noise_level`."""
    blurred = torch.distributions.Normal(MEAN, (DEVIATION.square() + noise_level**2).sqrt())
    return -blurred.log_prob(x).sum(1)


def likelihood_of(model, x: torch.Tensor, steps: int, noise_level: float = 0.01) -> torch.Tensor:
    def predict(x, t):
        return model(x, torch.full((len(x),), t, dtype=x.dtype))

    nodes = likelihood_nodes(model, steps, noise_level)
    return negative_log_likelihood(predict, x, nodes, generators(0, range(len(x)), "probes"))


@pytest.fixture
def points() -> torch.Tensor:
    """Likely and unlikely ones, up to four standard deviations away."""
    spread = torch.tensor([0.0, 1.0, -2.0, 4.0], dtype=torch.float64)[:, None]
    return MEAN + spread * DEVIATION


@pytest.mark.parametrize("path,prediction", KINDS)
def test_likelihood_of_the_gaussian_case(points, path, prediction):
    """Its Jacobian is diagonal, where Hutchinson's signs are exact."""
    found = likelihood_of(exact_model(path, prediction), points, steps=100)
    torch.testing.assert_close(found, closed_form(points, 0.01), rtol=0, atol=0.05)


def test_likelihood_converges_at_second_order_to_the_density_at_its_noise_level(points):
    model, expected = exact_model("flow_matching", "flow"), closed_form(points, 0.3)
    coarse, fine = (
        (likelihood_of(model, points, steps=steps, noise_level=0.3) - expected).abs().amax() for steps in (20, 40)
    )
    assert fine < 0.01
    assert 3 < coarse / fine < 5


@pytest.mark.parametrize("solver", [Euler(), DDPM(), Heun()])
def test_the_likelihood_watched_is_that_of_the_finished_samples(solver):
    model, sampler = exact_model("linear", "v_prediction"), Sampler(solver, steps=20)
    found = watch(model, sampler, range(4), {"it": partial(LogLikelihood, steps=100)})
    torch.testing.assert_close(found.scores["it"], closed_form(found.samples.double(), 0.01), rtol=0, atol=0.05)


@pytest.mark.parametrize("path,prediction", [("flow_matching", "flow"), ("linear", "epsilon"), ("cosine", "sample")])
@pytest.mark.parametrize("solver", [DDIM(), DDPM(), DPMSolver2()])
def test_divergence_of_the_gaussian_case_is_its_change_of_volume(path, prediction, solver):
    """The flow carries unit noise into the data's deviations: its log-determinant is the sum of their logarithms."""
    model, sampler = exact_model(path, prediction), Sampler(solver, steps=500, spacing="uniform_log_snr")
    found = watch(model, sampler, range(2), {"it": Divergence}).scores["it"]
    torch.testing.assert_close(found, DEVIATION.log().sum().expand(2), rtol=0, atol=0.05)


@pytest.mark.parametrize("process,prediction", [("flow_matching", "flow"), ("variance_preserving", "epsilon")])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_divergence_is_the_quadratic_form_of_explicit_jacobians(process, prediction, scale):
    """dz/dphi differentiated by central differences of the path, its Jacobian column by column."""
    model = random_model("points", process, prediction)
    sampler = Sampler(DDIM(), steps=4, guidance_scale=scale)
    found = watch(model, sampler, range(3), {"it": partial(Divergence, probes=2, window=(0.25, 1.0))}).scores["it"]
    for index in range(3):
        records: list[StageRecord] = []
        with evaluating(model):
            sample_latents(model, sampler, [index], observers=[records.append])
        source, total = generator(0, index, "divergence probe"), 0.0
        for record in records[1:]:
            t = record.stage.t
            alpha, sigma = float(model.process.alpha(t)), float(model.process.sigma(t))
            r, phi = math.hypot(alpha, sigma), math.atan2(sigma, alpha)
            end = record.stage.t_next
            phi_end = math.atan2(float(model.process.sigma(end)), float(model.process.alpha(end)))

            def velocity(z, t=t, r=r, phi=phi, alpha=alpha, sigma=sigma, index=index):
                f = model.guided(r * z[None], torch.tensor([t]), torch.tensor([index % 3]), scale)[0]
                x0 = r * z - sigma * f if prediction == "flow" else (r * z - sigma * f) / alpha
                eps = r * z + alpha * f if prediction == "flow" else f
                return math.cos(phi) * eps - math.sin(phi) * x0

            jacobian = torch.autograd.functional.jacobian(velocity, record.states[0][0] / r)
            signs = [2.0 * torch.randint(0, 2, (2,), generator=source) - 1 for _ in range(2)]
            total -= sum(float(sign @ jacobian @ sign) / 2 for sign in signs) * (phi - phi_end)
        assert found[index] == pytest.approx(total, rel=1e-3, abs=1e-5)


def test_many_probes_find_the_trace():
    model, sampler = random_model("points"), Sampler(steps=1)
    many = watch(model, sampler, [0], {"it": partial(Divergence, probes=4000)}).scores["it"]
    noise = sampler.initial_noise(model, [0])
    jacobian = torch.autograd.functional.jacobian(
        lambda x: model(x[None], torch.ones(1), torch.tensor([0]))[0], noise[0]
    )
    # At t = 1 of flow matching x0_hat = x - f, so that dz/dphi = f - x; one step leads from pi / 2 to 0.
    assert float(many) == pytest.approx(-(float(jacobian.trace()) - 2) * math.pi / 2, abs=0.02)


@pytest.mark.parametrize(
    "build,match",
    [
        (partial(Divergence, probes=0), "probes = 0"),
        (partial(LogLikelihood, probes=0), "probes = 0"),
        (partial(LogLikelihood, steps=0), "at least 1 step"),
        (partial(LogLikelihood, noise_level=0.0), "noise_level"),
    ],
)
def test_impossible_options_are_refused(build, match):
    with pytest.raises(ConfigurationError, match=match):
        watch(random_model("points"), Sampler(steps=2), [0], {"it": build})


@pytest.mark.parametrize(("kind", "name"), [(Divergence, "divergence"), (LogLikelihood, "likelihood")])
def test_a_sampler_that_clips_follows_another_flow(kind, name):
    with pytest.raises(ConfigurationError, match=rf"score '{name}'.*sampler\.clip_x0 = true"):
        kind(random_model(), Sampler(steps=2, clip_x0=True), [0])
