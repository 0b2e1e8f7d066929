"""Processes read off diffusers' schedulers: their own noising, and what their networks are told of the time."""

from __future__ import annotations

import types

import diffusers
import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.processes import Exploding, FlowMatching, ScheduledDiffusion, ScheduledFlow, VariancePreserving, process_of
from genuq.processes.scheduled import is_scheduler, noised, prepared, require_same_path
from support.their_schedulers import AFFINE, CLIPPING, DIFFUSION, EDM, FLOW, diffusion, settings_of

MADE = {**AFFINE, **{name: make for name, (make, _) in CLIPPING.items()}}


@pytest.mark.parametrize("name", MADE)
def test_is_the_path_on_which_the_scheduler_noises(name):
    scheduler = MADE[name]()
    process = process_of(scheduler, settings_of(scheduler))
    kinds = {**dict.fromkeys(FLOW, ScheduledFlow), **dict.fromkeys(EDM, Exploding)}
    assert isinstance(process, kinds.get(name, ScheduledDiffusion))
    paths = {**dict.fromkeys(FLOW, FlowMatching()), **dict.fromkeys(EDM, Exploding())}
    expected = paths.get(name, VariancePreserving("scaled_linear"))
    if "zero SNR" not in name:
        t = torch.linspace(0.01, 1, 99)
        torch.testing.assert_close(process.alpha(t), expected.alpha(t), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["ddim leading", "ddim zero SNR, v", "lcm", "ddpm"])
def test_the_table_is_exactly_theirs(name):
    scheduler = DIFFUSION[name]()
    process, n = process_of(scheduler), torch.arange(1000)
    x0, noise = torch.ones(1000, 1, dtype=torch.float64), torch.zeros(1000, 1, dtype=torch.float64)
    alpha, sigma = (scheduler.add_noise(*pair, n).flatten() for pair in ((x0, noise), (noise, x0)))
    torch.testing.assert_close(process.alpha(process.time_of(n)), alpha, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(process.sigma(process.time_of(n)), sigma, rtol=1e-8, atol=1e-14)


def test_zero_terminal_snr_is_noticed():
    process = process_of(DIFFUSION["ddim zero SNR, v"]())
    assert process.zero_terminal_snr and float(process.alpha(1.0)) == 0.0 and float(process.sigma(1.0)) == 1.0
    assert not process_of(DIFFUSION["ddim leading"]()).zero_terminal_snr
    assert all(torch.isfinite(process.alpha(torch.linspace(0, 1, 7))))


def test_networks_are_told_whole_timesteps_or_a_thousandth_of_the_time():
    diffusing, flowing = process_of(DIFFUSION["unipc"]()), process_of(FLOW["flow euler"]())
    n = torch.arange(1000)
    for process, told in ((diffusing, n), (flowing, n)):
        found = process.network_time(process.time_of(told).float())
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, told.float(), rtol=0, atol=1e-4)
        assert torch.equal(process.network_time(process.time_of(told)), told.float())
    assert float(diffusing.network_time(torch.tensor(0.0))) == 0.0, "nearer to the data than the table: its first"
    assert float(flowing.network_time(torch.tensor(0.25))) == 250.0


def test_bfloat16_states_do_not_round_the_time():
    process = process_of(DIFFUSION["unipc"]())
    assert float(process.network_time(process.time_of(951))) == 951.0


def test_prepared_leaves_the_scheduler_as_it_is():
    scheduler = DIFFUSION["unipc"]()
    assert prepared(scheduler, 7).num_inference_steps == 7
    assert scheduler.num_inference_steps is None


def test_a_grid_that_leaves_the_table_is_refused():
    trailing = diffusion("DDIMScheduler", timestep_spacing="trailing")()
    with pytest.raises(ConfigurationError, match=r"62 timesteps of sampler\.steps = 61, the last of them -1"):
        prepared(trailing, 61)
    assert len(prepared(trailing, 60).timesteps) == 60
    assert min(prepared(EDM["edm euler"](), 10).timesteps) < 0  # told of the noise's logarithm, which is no place


def test_noised_knows_times_that_occur_twice():
    """Karras' sigmas rounded to timesteps may meet; states are told apart by their place."""
    grid = prepared(diffusion("DPMSolverMultistepScheduler", use_karras_sigmas=True)(), 60)
    sigmas = [sigma / alpha for alpha, sigma in noised(grid, range(60))]
    assert sigmas == pytest.approx(grid.sigmas[:60].tolist(), rel=1e-6)
    assert len(set(grid.timesteps.tolist())) < 60


@pytest.mark.parametrize("name", ["IPNDMScheduler", "KarrasVeScheduler"])
def test_a_path_of_another_kind_is_refused(name):
    kind = getattr(diffusers, name, None)
    if kind is None:
        pytest.skip(f"this diffusers has no {name}")
    with pytest.raises(ConfigurationError, match="Process of your own"):
        process_of(kind())


def test_other_preconditioning_is_refused():
    """Stable Audio's tells its network the arctangent of the noise."""

    class Arctangent(diffusers.EDMEulerScheduler):
        def precondition_noise(self, sigma):
            return torch.as_tensor(sigma).atan() / 1.5708

    with pytest.raises(ConfigurationError, match=r"tells its network 0\.992 of the noise 80, and EDM's 1\.096"):
        process_of(Arctangent())


def test_what_sets_no_timesteps_is_no_scheduler():
    with pytest.raises(ConfigurationError, match=r"no set_timesteps and step.*Process of your own"):
        process_of(types.SimpleNamespace(step=len))


def test_a_table_of_others_is_noticed():
    scheduler = DIFFUSION["ddim leading"]()
    wrong = diffusion("DDIMScheduler", beta_schedule="linear")()
    scheduler.alphas_cumprod, real = wrong.alphas_cumprod, scheduler.alphas_cumprod
    scheduler.add_noise = type(scheduler).add_noise.__get__(DIFFUSION["ddim leading"]())
    assert not torch.equal(real, scheduler.alphas_cumprod)
    with pytest.raises(ConfigurationError, match="but its table says"):
        process_of(scheduler)


def test_the_same_path_is_required():
    scheduler = DIFFUSION["unipc"]()
    own = process_of(scheduler)
    require_same_path(scheduler, own, VariancePreserving("scaled_linear"))
    for other in (VariancePreserving("linear"), VariancePreserving("scaled_linear_zero_snr"), FlowMatching()):
        with pytest.raises(ConfigurationError, match=r"its alpha is .*Set model\.process"):
            require_same_path(scheduler, own, other)


def test_what_a_scheduler_is():
    assert is_scheduler(DIFFUSION["unipc"]())
    assert not is_scheduler(FlowMatching()) and not is_scheduler("euler")
