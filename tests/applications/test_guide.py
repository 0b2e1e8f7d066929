"""Uncertainty guidance: the move in closed form for a linear denoiser, where and when it happens, what it costs."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from genuq.applications import Guidance, Guided, Replicates, guidance_outcome, guide, plain_sampler
from genuq.applications.guide import UncertaintyGuidance, evaluations_of
from genuq.errors import ConfigurationError
from genuq.metrics import frechet_distance, precision_recall
from genuq.models import GenerativeModel, Sampler, StageRecord, metered, sample, sample_latents
from genuq.randomness import generators, normal
from genuq.solvers import DDIM, DPMSolverPlusPlus2M, Euler, Heun
from support.application_cases import CASE, MODEL, by_brightness

HOW = Guidance(window=(0.4, 0.8), renoisings=3, region=0.25)


def denoised(x: torch.Tensor, t: float) -> torch.Tensor:
    """E[x_0 | x_t] of independent Gaussian pixels under flow matching, by conditioning."""
    network = CASE.network
    gain = (1 - t) * network.deviation**2 / (((1 - t) * network.deviation) ** 2 + t**2)
    return network.mean + gain * (x - (1 - t) * network.mean)


@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_the_move_in_closed_form(strength: float) -> None:
    """One step at t = 0.5: inside the region x0_hat becomes the mean of the denoised fresh noisings, elsewhere not."""
    sampler, how = Sampler(Euler(), steps=2, seed=4), Guidance((0.5, 1.0), 6, 0.25, strength)
    records: list[StageRecord] = []
    steering = UncertaintyGuidance(MODEL, sampler, range(3), how)
    found = sample_latents(MODEL, sampler, range(3), observers=[records.append], steering=steering)
    x, t = records[1].states[0], 0.5
    x0 = denoised(x, t)
    sources = generators(4, range(3), "guidance noise")
    noisings = [(1 - t) * x0 + t * normal(sources, (1, 8, 8)) for _ in range(6)]
    hats = torch.stack([denoised(noising, t) for noising in noisings])
    noises = torch.stack([(noising - (1 - t) * hat) / t for noising, hat in zip(noisings, hats)])
    variance = noises.var(0).flatten(1)
    region = variance >= variance.topk(16, dim=1).values[:, -1:]
    assert torch.equal(steering.visited.flatten(1), region)
    moved = x0 + strength * (hats.mean(0) - x0)
    expected = torch.where(region.reshape(x.shape), moved, x0)  # the last step ends at x0_hat
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("solver", [Euler(), Heun(), DDIM(), DPMSolverPlusPlus2M()])
def test_nothing_moves_outside_the_window(solver) -> None:
    """Ten steps, the window [0.4, 0.8]: steps 4 to 7 are steered, the states before them are the plain ones."""
    sampler, times = Sampler(solver, steps=10), []

    class Noting(UncertaintyGuidance):
        def _moved(self, stage, x, prediction):
            times.append(self.step - 1 if not stage.intermediate else self.step)
            return super()._moved(stage, x, prediction)

    plain, guided = [], []
    sample_latents(MODEL, sampler, range(2), observers=[plain.append])
    steering = Noting(MODEL, sampler, range(2), HOW)
    sample_latents(MODEL, sampler, range(2), observers=[guided.append], steering=steering)
    assert times == [4, 5, 6, 7]
    same = [torch.equal(left.result, right.result) for left, right in zip(plain, guided)]
    ends = [place for place, record in enumerate(plain) if not record.stage.intermediate]
    before = ends[3] + 1
    assert all(same[:before]) and not any(same[before:])


def test_random_pixels_are_as_many_and_elsewhere() -> None:
    sampler, moved = Sampler(Euler(), steps=2), {}
    for pixels in ("uncertain", "random"):
        steering = UncertaintyGuidance(MODEL, sampler, range(40), Guidance((0.5, 1.0), 3, 0.25, pixels=pixels))
        sample_latents(MODEL, sampler, range(40), steering=steering)
        moved[pixels] = steering.visited
        assert (steering.visited.flatten(1).sum(1) == 16).all()
    shares = {name: region.double().mean(0).flatten() for name, region in moved.items()}
    assert shares["random"].std() < 1.5 * (0.25 * 0.75 / 40) ** 0.5 < shares["uncertain"].std()


def test_a_guided_sample_does_not_depend_on_the_batch() -> None:
    sampler = Sampler(Euler(), steps=5)
    whole, alone = (guide(MODEL, sampler, chosen, HOW) for chosen in (range(4), [2]))
    for name in ("ours", "control", "before"):
        torch.testing.assert_close(getattr(alone, name)[0], getattr(whole, name)[2], rtol=1e-4, atol=1e-5)
    assert torch.equal(alone.region[0], whole.region[2])
    assert torch.equal(whole.before, sample(MODEL, sampler, range(4)))


class Conditional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x, t, y=None):
        return self.head(x) + 0.1 * t[:, None, None, None] + 0.01 * y[:, None, None, None]


@pytest.mark.parametrize("solver", [Euler(), Heun(), DPMSolverPlusPlus2M()])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_the_cost_is_what_is_counted_and_the_controls_is_no_less(solver, scale: float) -> None:
    torch.manual_seed(0)
    model = GenerativeModel(Conditional(), (1, 4, 4), "flow_matching", "flow", 2)
    sampler = Sampler(solver, steps=5, guidance_scale=scale)
    found = guide(model, sampler, range(3), HOW)
    assert set(found.evaluations.tolist()) == {evaluations_of(model, sampler, HOW)}
    plain = plain_sampler(model, sampler, HOW)
    with metered(model) as meter:
        control = sample(model, plain, range(3))
    assert torch.equal(control, found.control)
    assert set(found.control_evaluations.tolist()) == set(meter.per_sample(3).values())
    excess = float((found.control_evaluations - found.evaluations).max())
    assert 0 <= excess < 2 * scale  # less than one more step would be


def test_the_outcome_pairs_by_sample() -> None:
    images = torch.randn(50, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    cost, region = torch.full((50,), 8.0), torch.ones(50, 1, 2, 2, dtype=torch.bool)
    made = Guided(torch.arange(50), images + 0.1, images, images, region, cost, cost)
    row = guidance_outcome(made, by_brightness, None, replicates=Replicates(200)).row("confidence")
    assert row.difference.value == pytest.approx(0.1) and row.difference.high - row.difference.low < 1e-6
    assert row.ours.high - row.ours.low > 0.1
    gain = guidance_outcome(made, by_brightness, None, replicates=Replicates(200)).row("confidence_gain")
    assert gain.ours.value == pytest.approx(0.1) and gain.control.value == 0


def test_set_metrics_are_the_librarys_and_paired() -> None:
    source = torch.Generator().manual_seed(0)
    images, real = torch.randn(80, 1, 2, 2, generator=source), torch.randn(300, 4, generator=source)
    cost, region = torch.full((80,), 8.0), torch.ones(80, 1, 2, 2, dtype=torch.bool)
    made = Guided(torch.arange(80), 0.5 * images, images, images, region, cost, cost)
    found = guidance_outcome(made, by_brightness, None, real, 3, Replicates(50), halves=40)
    for part, side in (("ours", 0.5 * images), ("control", images)):
        known = precision_recall(real, side.flatten(1), 3)
        assert getattr(found.row("recall"), part).value == pytest.approx(known.recall)
        assert getattr(found.row("fid"), part).value == pytest.approx(frechet_distance(real, side.flatten(1)), rel=1e-6)
    assert found.row("fid").difference.low > 0 and found.row("recall").difference.high < 0
    same = Guided(made.index, images, images, images, region, cost, cost)
    difference = guidance_outcome(same, by_brightness, None, real, 3, Replicates(50), halves=10).row("fid").difference
    assert difference.low == difference.value == difference.high == 0
    few = Guided(*(getattr(made, field.name)[:4] for field in dataclasses.fields(Guided)))
    assert guidance_outcome(few, by_brightness, None, real, 5, Replicates(50)).notes[0].startswith("No fid")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": (0.5, 0.5)}, r"application\.window = \[0\.5, 0\.5\]"),
        ({"renoisings": 1}, r"application\.renoisings = 1"),
        ({"pixels": "certain"}, r"application\.pixels = 'certain'; choose uncertain or random"),
        ({"strength": 0.0}, r"application\.strength = 0\.0"),
        ({"region": 2.0}, r"application\.region = 2\.0"),
    ],
)
def test_refusals(options: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Guidance(**options)
