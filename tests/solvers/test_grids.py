"""Grids beside what their sources say of them in float64, and beside diffusers' own."""

from __future__ import annotations

import math
from itertools import pairwise

import diffusers
import numpy as np
import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.models import Sampler, sample
from genuq.pretrained.adm import schedule_of
from genuq.processes import Exploding, FlowMatching, VariancePreserving
from genuq.solvers import DDIM, SOLVERS, Euler, HeunSigma, SchedulerSolver, grid
from genuq.solvers.grids import KarrasLevels
from support.released import small


def levels(most: float, least: float, steps: int, rho: float = 7.0) -> np.ndarray:
    """Karras et al. 2022, equation 5, written out."""
    i = np.arange(steps)
    return (most ** (1 / rho) + i / max(steps - 1, 1) * (least ** (1 / rho) - most ** (1 / rho))) ** rho


def level(process, times) -> np.ndarray:
    t = torch.as_tensor(times, dtype=torch.float64)
    return (process.sigma(t) / process.alpha(t)).numpy()


@pytest.mark.parametrize("rho", [1.0, 3.0, 7.0])
def test_levels_are_edms(rho: float) -> None:
    times = grid(Exploding(), 18, spacing=KarrasLevels(rho))
    np.testing.assert_allclose(level(Exploding(), times[:-1]), levels(80, 0.002, 18, rho), rtol=1e-11)
    assert times[0] == 1 and times[-2:] == [0.0, 0.0]  # of the least noise, and of none


@pytest.mark.parametrize(
    ("process", "most", "least"),
    [
        (VariancePreserving("scaled_linear"), 14.6146, 0.0292),  # those of Stable Diffusion, as everybody has them
        (FlowMatching(), 999.0, 0.001 / 0.999),
    ],
)
def test_levels_of_a_path_that_ends_clean(process, most: float, least: float) -> None:
    times = grid(process, 9, spacing="karras")
    np.testing.assert_allclose(level(process, times[:-1]), levels(most, least, 9), rtol=2e-3)
    assert times[-1] == 0 < times[-2]
    chosen = grid(process, 9, spacing=KarrasLevels(5.0, 0.05, 10.0))
    np.testing.assert_allclose(level(process, chosen[:-1]), levels(10, 0.05, 9, 5.0), rtol=1e-6)


def test_one_step_is_from_the_most_noise() -> None:
    assert grid(Exploding(), 1, spacing="karras") == [1.0, 0.0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (KarrasLevels(sigma_max=100.0), r"sampler\.sigma_max = 100, but the noise .* from 0\.002 to 80"),
        (KarrasLevels(sigma_min=0.001), r"sampler\.sigma_min = 0\.001, but the noise"),
        (KarrasLevels(sigma_min=2.0, sigma_max=1.0), r"sampler\.sigma_min = 2 is not below sampler\.sigma_max = 1"),
    ],
)
def test_levels_that_the_path_does_not_have_are_refused(given: KarrasLevels, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        grid(Exploding(), 5, spacing=given)


# As published: EDM's sampler, algorithm 1 of its paper


def denoised(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """A made-up D(x; sigma), float64."""
    return torch.tanh(x) / (1 + sigma**2)


def answer(x: torch.Tensor, t: float) -> torch.Tensor:
    """The F of it: D = c_skip x + c_out F (Karras et al. 2022, table 1), sigma_data = 0.5."""
    sigma = float(Exploding().sigma(t))
    c_skip, c_out = 0.25 / (sigma**2 + 0.25), sigma * 0.5 / math.sqrt(sigma**2 + 0.25)
    return (denoised(x, sigma) - c_skip * x) / c_out


def algorithm_1(x: torch.Tensor, steps: int, corrected: bool) -> torch.Tensor:
    sigmas = [*levels(80, 0.002, steps), 0.0]
    for here, there in pairwise(sigmas):
        slope = (x - denoised(x, here)) / here
        moved = x + (there - here) * slope
        if there > 0 and corrected:
            moved = x + (there - here) * (slope + (moved - denoised(moved, there)) / there) / 2
        x = moved
    return x


def followed(stages, x: torch.Tensor) -> torch.Tensor:
    states, answers = [], []
    for stage in stages:
        states, answers = [x, *states], [answer(x, stage.t), *answers]
        x = sum(a * s for a, s in zip(stage.x, states)) + sum(b * f for b, f in zip(stage.f, answers))
    return x


@pytest.mark.parametrize(("solver", "corrected"), [(HeunSigma(), True), (DDIM(), False)])
@pytest.mark.parametrize("steps", [2, 18])
def test_edm_is_sampled_as_published(solver, corrected: bool, steps: int) -> None:
    x = 80 * torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    stages = solver.sampling_stages(Exploding(), "edm", steps, "karras")
    assert len(stages) == (2 * steps - 1 if corrected else steps)
    torch.testing.assert_close(followed(stages, x), algorithm_1(x, steps, corrected), rtol=1e-9, atol=1e-9)


def unrolled(stages) -> np.ndarray:
    """Every state as a combination of the first one and all predictions, which are unique; coefficients are not."""
    units, states = np.eye(1 + len(stages)), [np.eye(1 + len(stages))[0]]
    for place, stage in enumerate(stages):
        newest = units[1 : place + 2][::-1]
        states.insert(0, sum(a * s for a, s in zip(stage.x, states)) + sum(b * f for b, f in zip(stage.f, newest)))
    return np.stack(states)


def test_edm_euler_is_diffusers() -> None:
    theirs = SchedulerSolver(diffusers.EDMEulerScheduler())
    ours = DDIM().sampling_stages(theirs.process, theirs.prediction, 10, "karras")
    found = unrolled(theirs.sampling_stages(theirs.process, theirs.prediction, 10))
    np.testing.assert_allclose(unrolled(ours), found, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_heun_on_a_path_of_diffusion_is_diffusers(prediction: str) -> None:
    table = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = diffusers.HeunDiscreteScheduler(use_karras_sigmas=True, prediction_type=prediction, **table)
    theirs = SchedulerSolver(scheduler)
    ours = HeunSigma().sampling_stages(theirs.process, prediction, 10, "karras")
    found = unrolled(theirs.sampling_stages(theirs.process, prediction, 10))
    np.testing.assert_allclose(unrolled(ours), found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in SOLVERS if name != "scheduler"])
@pytest.mark.parametrize("process", [Exploding(), FlowMatching(), VariancePreserving("cosine")], ids=lambda p: p.name)
@pytest.mark.parametrize("steps", [2, 6])
def test_any_solver_walks_it_down_to_x0_hat(name: str, process, steps: int) -> None:
    """A network that knows the data says one and the same of it anywhere: the end is the data, without noise."""
    stages = SOLVERS.make(name).sampling_stages(process, "sample", steps, "karras")
    assert all(one.t_next == other.t for one, other in pairwise(stages)) and stages[-1].t_next == 0
    last = stages[-1]
    assert (last.noise, last.x[0], last.f[0]) == pytest.approx((0, 0, 1), abs=1e-12) and not any(last.f[1:])


# The timesteps of a table


def space_timesteps(total: int, count: int) -> list[int]:
    """guided-diffusion's respacing of one section, as Nichol & Dhariwal 2021 describe it: strides added up, rounded."""
    stride, place, found = (total - 1) / (count - 1), 0.0, []
    for _ in range(count):
        found.append(round(place))
        place += stride
    return found


@pytest.mark.parametrize("count", [2, 25, 100, 250, 1000])
def test_timesteps_are_guided_diffusions(count: int) -> None:
    path = schedule_of("linear")
    times = torch.tensor(grid(path, count, start=0.9, spacing="timesteps"), dtype=torch.float64)
    told = path.network_time(times[:-1]).flip(0).tolist()
    assert told == space_timesteps(1000, count) and times[-1] == 0
    theirs = diffusers.DDPMScheduler(timestep_spacing="linspace")
    theirs.set_timesteps(count)
    assert told[::-1] == theirs.timesteps.tolist()


@pytest.mark.parametrize(
    ("process", "steps", "said"),
    [
        (FlowMatching(), 5, r"sampler\.spacing = 'timesteps' is of a process with a table.*FlowMatching"),
        (VariancePreserving("linear", 100), 101, r"sampler\.steps = 101, but the table has 100"),
    ],
)
def test_timesteps_need_a_table_that_long(process, steps: int, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        grid(process, steps, spacing="timesteps")


# In a sampler


def test_a_sampler_has_the_numbers_of_the_grid() -> None:
    model = small("edm2")
    plain = Sampler(HeunSigma(), steps=3, spacing="karras", seed=1)
    assert plain.evaluations(model) == 5
    rows: list[int] = []
    model.network.register_forward_hook(lambda module, given, found: rows.append(len(found)))
    images = sample(model, plain, [0])
    assert len(images) == 1
    other = Sampler(HeunSigma(), steps=3, spacing="karras", seed=1, rho=3.0, sigma_max=40.0)
    assert float(model.process.sigma(other.stages(model)[0].t)) == pytest.approx(40.0)
    assert not torch.equal(sample(model, other, [0]), images)


@pytest.mark.parametrize("key", ["rho", "sigma_min", "sigma_max"])
def test_numbers_of_another_grid_are_refused(key: str) -> None:
    sampler = Sampler(Euler(), steps=2, **{key: 2.0})
    with pytest.raises(ConfigurationError, match=rf"sampler\.{key} = 2.* sampler\.spacing = 'uniform_time'"):
        sampler.check(small("edm2"))
