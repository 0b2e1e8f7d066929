"""`model=adm`: its schedules beside diffusers', its posteriors, its classifier."""

from __future__ import annotations

import math
from pathlib import Path

import diffusers
import pytest
import torch

import genuq
from genuq.models import MODELS, Sampler, sample_latents
from genuq.networks.adm import ADMClassifier, ADMSettings
from genuq.pretrained.adm import adm, schedule_of
from genuq.propagators import Trajectory
from genuq.randomness import ANCESTRAL, INITIAL, generator
from genuq.solvers import build as build_solver
from support import released
from support.released import images, small

DDIM = Sampler(build_solver("ddim"), steps=3, seed=0, batch_size=4)


@pytest.mark.parametrize(("name", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2")])
def test_schedules_are_diffusers(name: str, theirs: str) -> None:
    table = diffusers.DDPMScheduler(beta_schedule=theirs).alphas_cumprod.double()
    path = schedule_of(name)
    told = torch.arange(1000).double()
    torch.testing.assert_close(path.alpha(path.time_of(told)).square(), table, rtol=1e-4, atol=1e-9)
    assert torch.equal(path.network_time(path.time_of(told)), told.float())


def test_presets_have_their_schedules() -> None:
    cosine, linear = (adm(preset, outline=True).process for preset in ("imagenet_64", "imagenet_256"))
    assert float(cosine.alpha(0.5)) == pytest.approx(float(schedule_of("cosine").alpha(0.5)))
    assert float(linear.alpha(0.5)) == pytest.approx(float(schedule_of("linear").alpha(0.5)))
    assert adm("imagenet_256_unconditional", outline=True).num_classes == 0


def test_epsilon_is_the_first_channels_at_the_networks_own_timesteps() -> None:
    model, (x, y) = small("adm"), images(2)
    t_B = torch.tensor([0.001, 1.0])
    with torch.no_grad():
        whole = model.network(x, torch.tensor([0.0, 999.0]), y)
        torch.testing.assert_close(model(x, t_B, y), whole[:, :3])


def test_channels_of_the_variance_have_no_posterior() -> None:
    """Their rows of the head are read by nothing, and a variance of three channels is what is propagated."""
    model, (x, y) = small("adm"), images()
    fitted = genuq.fit(model, x, "exact_laplace", images=16, held_out=8, batch_size=8, labels=y)
    drawn = fitted.posterior.draw(0)
    assert [value.shape for value in drawn.values()] == [(6, 32, 3, 3), (6,)]
    result = genuq.propagate(model, fitted.posterior, DDIM, range(4), propagator=Trajectory())
    assert result.variance.shape == (4, 3, 8, 8) and bool((result.variance > 0).all())


def noisy_classifier(path: Path) -> ADMClassifier:
    torch.manual_seed(0)
    classifier = ADMClassifier(ADMSettings(**released.CLASSIFIER)).eval()
    torch.save(classifier.state_dict(), path)
    return classifier


@pytest.mark.parametrize("unconditional", [False, True])
def test_the_classifier_guides(unconditional: bool, tmp_path: Path) -> None:
    classifier = noisy_classifier(tmp_path / "c.pt")
    changed = released.ADM | ({"num_classes": 0} if unconditional else {})
    given = {"classifier": str(tmp_path / "c.pt"), "classifier_changed": released.CLASSIFIER}
    preset = "imagenet_256_unconditional" if unconditional else "imagenet_256"
    model = small("adm", preset=preset, changed=changed, **given)
    assert model.num_classes == 3
    (x, y), t_B = images(2), torch.tensor([0.25, 0.75])
    state = x.clone().requires_grad_()
    logits = classifier(state, 1000 * t_B - 1).log_softmax(1)
    (gradient,) = torch.autograd.grad(logits[torch.arange(2), y].sum(), state)
    with torch.no_grad():
        plain, guided = (model.guided(x, t_B, y, scale) for scale in (1.0, 3.0))
    sigma = model.process.sigma(t_B).float().reshape(-1, 1, 1, 1)
    torch.testing.assert_close(guided, plain - 2 * sigma * gradient, rtol=1e-4, atol=1e-6)
    sampler = Sampler(build_solver("ddim"), steps=2, seed=0, batch_size=4, guidance_scale=3.0, classes=[0, 1])
    assert sample_latents(model, sampler, range(2)).isfinite().all()


def test_a_classifier_is_named_when_it_is_another_network(tmp_path: Path) -> None:
    noisy_classifier(tmp_path / "c.pt")
    with pytest.raises(
        ValueError, match=r"model\.classifier = .*c\.pt is no released.*the classifier of ADM imagenet_64"
    ):
        MODELS.make("adm", preset="imagenet_64", changed=released.ADM, classifier=str(tmp_path / "c.pt"))


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_it_is_sampled_as_published(schedule: str) -> None:
    """By betas alone: a respaced chain, x_0 clipped, the noise of each step as the network says it."""
    model, steps = small("adm", schedule=schedule), 5
    sampler = Sampler(build_solver("ddpm_learned"), steps, "timesteps", clip_x0=True, classes=[1])
    theirs = diffusers.DDPMScheduler(beta_schedule={"linear": "linear", "cosine": "squaredcos_cap_v2"}[schedule])
    chosen = [0, 250, 500, 749, 999]  # 999 / 4 = 249.75
    kept = theirs.alphas_cumprod.double()[chosen].tolist()
    source = generator(0, 7, ANCESTRAL)
    x = torch.randn(3, 8, 8, generator=generator(0, 7, INITIAL))[None]
    x = x * (1 - kept[-1]) ** 0.5
    for k in reversed(range(steps)):
        with torch.no_grad():
            answer = model.network(x, torch.tensor([float(chosen[k])]), torch.tensor([1])).double()
        epsilon, share = answer[:, :3], (answer[:, 3:] + 1) / 2
        before = kept[k - 1] if k else 1.0
        beta = 1 - kept[k] / before
        x0 = ((x.double() - (1 - kept[k]) ** 0.5 * epsilon) / kept[k] ** 0.5).clamp(-1, 1)
        mean = before**0.5 * beta / (1 - kept[k]) * x0 + (1 - beta) ** 0.5 * (1 - before) / (1 - kept[k]) * x.double()
        x = mean.float()
        if k:
            least = beta * (1 - before) / (1 - kept[k])
            log_variance = share * math.log(beta) + (1 - share) * math.log(least)
            x = x + ((log_variance / 2).exp() * torch.randn(3, 8, 8, generator=source)).float()
    near = {"linear": 1e-3, "cosine": 1e-2}[schedule]  # where x_0 is 20,000 times a difference in float32
    torch.testing.assert_close(sample_latents(model, sampler, [7]), x, rtol=near, atol=near)
