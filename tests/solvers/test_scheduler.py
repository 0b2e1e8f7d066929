"""diffusers' schedulers as solvers: the samples of a pipeline for the same noise, and what is refused."""

from __future__ import annotations

import copy
import functools
import itertools

import pytest
import torch
from diffusers import DDIMScheduler

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, Sampler, grid_times, sample_latents
from genuq.models.restarting import finish_latents
from genuq.posteriors import Posterior, ScaleOptions, fit, swapped
from genuq.processes import FlowMatching, VariancePreserving, conversion
from genuq.propagators import Coherent, Corrected, propagate
from genuq.solvers import DDIM, AffineStage, DPMSolverPlusPlus2M, Euler, Heun, SchedulerSolver
from genuq.solvers.scheduler import perfect_states
from support.gaussian_toy import exact_prediction
from support.their_schedulers import (
    AFFINE,
    CLIPPING,
    DIFFUSION,
    SHAPE,
    SmallNetwork,
    diffusion,
    flow,
    model_of,
    pipeline,
    relative,
    settings_of,
)

SEED, COUNT = 3, 3


@functools.cache
def solver_of(name: str) -> SchedulerSolver:
    scheduler = AFFINE[name]()
    return SchedulerSolver(scheduler, settings_of(scheduler))


def both(solver: SchedulerSolver, steps: int, **options: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of genuq's sampler, and of a pipeline with the same network, noise and steps."""
    model, sampler = model_of(solver), Sampler(solver, steps=steps, seed=SEED)
    noise = sampler.initial_noise(model, range(COUNT))
    drawing = [bool(stage.noise) for stage in sampler.stages(model)]
    found = sample_latents(model, sampler, range(COUNT))
    theirs = copy.deepcopy(solver.scheduler)
    return found, pipeline(model.network, theirs, steps, noise, SEED, drawing, **options)


FLOAT32_OF_THEIRS = {"flow heun": 1e-5, "edm dpm++ 2m": 2e-6}  # schedulers that divide by sigmas in float32


@pytest.mark.parametrize("name", AFFINE)
@pytest.mark.parametrize("steps", [4, 9])
def test_samples_are_those_of_the_pipeline(name, steps):
    found, expected = both(solver_of(name), steps)
    assert relative(found, expected) < FLOAT32_OF_THEIRS.get(name, 1e-6)


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_options_of_the_step_are_those_of_the_pipeline(eta):
    solver = SchedulerSolver(DIFFUSION["ddim leading"](), options={"eta": eta})
    found, expected = both(solver, 6, eta=eta)
    assert relative(found, expected) < 1e-6
    assert any(stage.noise for stage in solver.sampling_stages(solver.process, "epsilon", 6)) == (eta > 0)


def test_euler_at_zero_terminal_snr_is_theirs_up_to_float32_of_a_state_of_4096():
    solver = SchedulerSolver(
        diffusion(
            "EulerDiscreteScheduler",
            rescale_betas_zero_snr=True,
            prediction_type="v_prediction",
            timestep_spacing="trailing",
        )()
    )
    found, expected = both(solver, 5)
    assert relative(found, expected) < 1e-4


def test_a_scheduler_is_a_solver_for_the_sampler():
    scheduler = DIFFUSION["dpm++ 2m"]()
    before = dict(vars(scheduler))
    sampler = Sampler(scheduler, steps=5, seed=SEED)
    assert isinstance(sampler.solver, SchedulerSolver)
    assert sampler.solver.name == "DPMSolverMultistepScheduler"
    model = model_of(sampler.solver)
    found = sample_latents(model, sampler, range(COUNT))
    assert torch.equal(found, sample_latents(model, Sampler(SchedulerSolver(scheduler), steps=5, seed=SEED), range(3)))
    assert sampler.evaluations(model) == 5
    assert vars(scheduler).keys() == before.keys(), "the user's scheduler stays as it is"
    assert scheduler.num_inference_steps is None


def test_settings_are_what_the_pipeline_computes():
    """FLUX's pipeline: sigmas from 1 down, and mu by the size of the image."""
    scheduler = flow("FlowMatchEulerDiscreteScheduler", use_dynamic_shifting=True)()
    solver = SchedulerSolver(
        scheduler, lambda steps: {"sigmas": torch.linspace(1, 1 / steps, steps).tolist(), "mu": 0.9}
    )
    theirs = copy.deepcopy(scheduler)
    theirs.set_timesteps(sigmas=torch.linspace(1, 0.25, 4).tolist(), mu=0.9)
    stages = solver.sampling_stages(solver.process, "flow", 4)
    assert [stage.network_time for stage in stages] == theirs.timesteps.tolist()
    assert [stage.t for stage in stages] == pytest.approx(theirs.sigmas[:4].tolist(), abs=1e-6)


class TestTimes:
    @pytest.mark.parametrize("name", AFFINE)
    def test_the_network_is_told_the_schedulers_own(self, name):
        solver, told = solver_of(name), list[float]()
        scheduler = solver.prepared(4)
        network = SmallNetwork()
        model = GenerativeModel(
            network,
            SHAPE,
            solver.process,
            solver.prediction,
            call=lambda network, x, t, y: (told.extend(t[:1].tolist()), network(x, t))[1],
        )
        sample_latents(model, Sampler(solver, steps=4), range(2))
        assert told == scheduler.timesteps.float().tolist()

    def test_a_rounded_time_is_not_where_the_state_is(self):
        """Karras' sigmas lie between the timesteps that the network is told."""
        solver = solver_of("dpm++ 2m karras")
        scheduler, stages = solver.prepared(6), solver.sampling_stages(solver.process, "epsilon", 6)
        for stage, sigma in zip(stages, scheduler.sigmas.tolist()):
            process = solver.process
            assert float(process.sigma(stage.t) / process.alpha(stage.t)) == pytest.approx(sigma, rel=1e-6)
        assert any(abs(float(solver.process.time_of(stage.network_time)) - stage.t) > 1e-5 for stage in stages)

    @pytest.mark.parametrize("name", ["ddim leading", "euler karras", "heun", "unipc", "flow heun", "flow unipc"])
    def test_the_result_is_clean(self, name):
        solver = solver_of(name)
        last = solver.sampling_stages(solver.process, solver.prediction, 4)[-1]
        assert last.t_next == pytest.approx(0.001 if name == "ddim leading" else 0.0, abs=1e-9)  # set_alpha_to_one

    @pytest.mark.parametrize("name", ["heun", "flow heun", "kdpm2"])
    def test_the_states_between_two_of_a_second_order_scheduler_are_auxiliary(self, name):
        solver = solver_of(name)
        stages = solver.sampling_stages(solver.process, solver.prediction, 4)
        assert [stage.intermediate for stage in stages] == [True, False, True, False, True, False, False]

    @pytest.mark.parametrize("name", AFFINE)
    def test_the_times_of_the_steps_fall(self, name):
        solver = solver_of(name)
        times = grid_times(model_of(solver), Sampler(solver, steps=9))
        assert all(before > after for before, after in itertools.pairwise(times)), times


class TestHats:
    """x0_hat from the stage's time is what the scheduler itself takes for the clean sample."""

    @pytest.mark.parametrize(
        "name", ["ddim leading", "ddim trailing", "ddim zero SNR, v", "euler karras", "ddpm", "ddpm large"]
    )
    def test_is_that_of_the_scheduler(self, name):
        solver = solver_of(name)
        scheduler = solver.prepared(7)
        stages = solver.sampling_stages(solver.process, solver.prediction, 7)
        source = torch.Generator().manual_seed(0)
        x = torch.randn(1, *SHAPE, generator=source) * float(scheduler.init_noise_sigma)
        for stage, time in zip(stages, scheduler.timesteps):
            shown, f = scheduler.scale_model_input(x, time), torch.randn(1, *SHAPE, generator=source)
            found = conversion(solver.prediction, solver.process, stage.t)
            step = scheduler.step(f, time, x)
            expected = step.pred_original_sample
            assert relative(float(found.x0_x) * shown + float(found.x0_f) * f, expected) < 1e-4
            x = step.prev_sample


class TestAgainstGenuqsOwn:
    """The probed coefficients are those of genuq's solvers where the two do the same."""

    def test_ddim(self):
        solver = solver_of("ddim trailing")  # whose previous timestep, n - 1000 // 4, is the next of its grid
        stages = solver.sampling_stages(solver.process, "epsilon", 4)
        for stage, expected in zip(stages, DDIM().stages(solver.process, "epsilon", [*(s.t for s in stages), 0.0])):
            assert (stage.x, stage.f) == (pytest.approx(expected.x, rel=1e-6), pytest.approx(expected.f, rel=1e-6))

    @pytest.mark.parametrize("steps", [3, 8])
    def test_dpm_solver_pp_2m(self, steps):
        scheduler = diffusion("DPMSolverMultistepScheduler", lower_order_final=False, euler_at_final=True)()
        solver = SchedulerSolver(scheduler)
        model = model_of(solver)
        stages = solver.sampling_stages(solver.process, "epsilon", steps)
        times = [*(stage.t for stage in stages), 0.0]
        own = Planned(DPMSolverPlusPlus2M().stages(solver.process, "epsilon", times), stages)
        found, expected = (sample_latents(model, Sampler(each, steps=steps), range(2)) for each in (solver, own))
        assert relative(found, expected) < 2e-5  # their lambdas are float32

    @pytest.mark.parametrize("name,own", [("flow euler, shift 3", Euler()), ("flow heun", Heun())])
    def test_flow(self, name, own):
        solver = solver_of(name)
        stages = solver.sampling_stages(solver.process, "flow", 5)
        times = [stages[0].t, *(stage.t_next for stage in stages if not stage.intermediate)]
        for found, expected in zip(stages, own.stages(FlowMatching(), "flow", times)):
            assert found.x[:1] == pytest.approx(expected.x[:1], abs=1e-5) or name == "flow heun"
            assert found.t == pytest.approx(expected.t, abs=1e-6)
            assert found.t_next == pytest.approx(expected.t_next, abs=1e-6)
        model = model_of(solver)
        found, expected = (
            sample_latents(model, Sampler(each, steps=5), range(2))
            for each in (solver, Planned(own.stages(FlowMatching(), "flow", times), stages))
        )
        assert relative(found, expected) < 1e-5

    def test_a_propagator_over_it_is_that_over_the_same_coefficients(self):
        """Stages by the book in place of the probed ones: the variance of every pixel is the same."""
        solver = solver_of("flow euler, shift 3")
        model = model_of(solver)
        posterior = small_posterior(model)
        stages = solver.sampling_stages(solver.process, "flow", 6)
        own = Planned(Euler().stages(FlowMatching(), "flow", [*(stage.t for stage in stages), 0.0]), stages)
        for propagator in (None, Corrected(derivative="forward")):
            found, expected = (
                propagate(model, posterior, Sampler(each, steps=6), range(2), propagator) for each in (solver, own)
            )
            torch.testing.assert_close(found.latents, expected.latents, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(found.variance, expected.variance, rtol=1e-4, atol=1e-12)
            assert float(found.variance.min()) > 0

    @pytest.mark.parametrize("name", ["dpm++ 2m karras", "unipc", "heun", "flow unipc"])
    def test_the_variance_of_any_is_that_over_weight_draws(self, name):
        solver = solver_of(name)
        model, sampler = model_of(solver), Sampler(solver, steps=4, seed=SEED)
        posterior, versions = small_posterior(model), []
        for draw in range(100):
            with swapped(posterior.module, posterior.draw(draw)):
                versions.append(sample_latents(model, sampler, range(2)))
        drawn = torch.stack(versions).double().var(0)
        found = propagate(model, posterior, sampler, range(2), Coherent(100))
        assert float(found.variance.sum() / drawn.sum()) == pytest.approx(1, abs=0.15)
        assert torch.equal(found.latents, sample_latents(model, sampler, range(2)))


class Planned(Euler):
    """Given stages, with the network's times and the start of others."""

    def __init__(self, stages: list[AffineStage], others: list[AffineStage]) -> None:
        assert len(stages) == len(others)
        self._stages = [
            AffineStage(s.t, s.t_next, s.x, s.f, s.noise, s.intermediate, o.network_time, o.start)
            for s, o in zip(stages, others)
        ]

    def sampling_stages(self, process, prediction, steps, spacing="uniform_time"):
        return self._stages


def small_posterior(model: GenerativeModel) -> Posterior:
    images = 2 * torch.rand((24, *SHAPE), generator=torch.Generator().manual_seed(0)) - 1
    scale = ScaleOptions(observation_noise=1e-3, prior_precision=1e4, temperature=1.0)
    return fit(model, images, "exact_laplace", images=16, held_out=8, scale=scale).posterior


class TestOtherPredictions:
    def test_a_network_of_v_under_a_scheduler_of_epsilon(self):
        """The network's v is turned into the epsilon of the same state: for the exact Gaussian, the same samples."""
        solver = solver_of("dpm++ 2m")
        process = solver.process
        runs = {}
        for prediction in ("epsilon", "v_prediction", "sample"):
            predict = exact_prediction(process, prediction)
            stages = solver.sampling_stages(process, prediction, 6)
            x, states, answers = torch.ones(3, dtype=torch.float64), [], []
            for stage in stages:
                states, answers = [x, *states], [predict(x, stage.t), *answers]
                x = sum(w * s for w, s in zip(stage.x, states)) + sum(w * f for w, f in zip(stage.f, answers))
            runs[prediction] = x
        torch.testing.assert_close(runs["v_prediction"], runs["epsilon"], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(runs["sample"], runs["epsilon"], rtol=1e-9, atol=1e-9)

    def test_minus_flow_is_flow_with_the_other_sign(self):
        solver = solver_of("flow euler, shift 3")
        plain, minus = (solver.sampling_stages(solver.process, name, 4) for name in ("flow", "minus_flow"))
        for one, other in zip(plain, minus):
            assert other.f == pytest.approx([-weight for weight in one.f], abs=1e-12)
            assert other.x == pytest.approx(one.x, abs=1e-12)


class TestModelsOfTheirOwn:
    def test_a_model_that_counts_in_fractions_is_told_fractions(self):
        """A model of before, whose adapter makes timesteps of t in [0, 1]."""
        solver = solver_of("ddim leading")
        network = SmallNetwork()
        model = GenerativeModel(
            network,
            SHAPE,
            VariancePreserving("scaled_linear"),
            "epsilon",
            call=lambda network, x, t, y: network(x, t * 1000 - 1),
        )
        sampler = Sampler(solver, steps=5, seed=SEED)
        noise = sampler.initial_noise(model, range(COUNT))
        expected = pipeline(network, copy.deepcopy(solver.scheduler), 5, noise, SEED)
        assert relative(sample_latents(model, sampler, range(COUNT)), expected) < 1e-4

    @pytest.mark.parametrize("process", [VariancePreserving("linear"), FlowMatching()])
    def test_of_another_process_are_refused(self, process):
        solver = solver_of("dpm++ 2m")
        with pytest.raises(ConfigurationError, match=r"another path than the model was trained on.*model\.process"):
            solver.sampling_stages(process, "epsilon", 5)


class TestRefused:
    @pytest.mark.parametrize("make,setting", CLIPPING.values(), ids=CLIPPING)
    def test_clipping_by_the_name_of_its_setting(self, make, setting):
        solver = SchedulerSolver(make())
        with pytest.raises(ConfigurationError, match=rf"not affine.*{setting} = True.*directly=True"):
            solver.sampling_stages(solver.process, "epsilon", 5)

    def test_clipping_that_a_configuration_without_it_turns_on(self):
        """DDIM clips unless it is told not to, and PNDM's configuration says nothing of it."""
        solver = SchedulerSolver(DDIMScheduler.from_config(DIFFUSION["pndm"]().config))
        with pytest.raises(ConfigurationError, match=r"not affine.*clip_sample = True.*directly=True"):
            solver.sampling_stages(solver.process, "epsilon", 5)

    def test_epsilon_at_zero_terminal_snr(self):
        make = diffusion("DDIMScheduler", clip_sample=False, rescale_betas_zero_snr=True, timestep_spacing="trailing")
        solver = SchedulerSolver(make())
        with pytest.raises(ConfigurationError, match="not finite, because of its setting rescale_betas_zero_snr"):
            solver.sampling_stages(solver.process, "epsilon", 5)

    def test_a_spacing_of_genuqs(self):
        solver = solver_of("dpm++ 2m")
        with pytest.raises(ConfigurationError, match="a spacing of its own"):
            Sampler(solver, spacing="uniform_log_snr").check(model_of(solver))
        with pytest.raises(ConfigurationError, match="a spacing of its own"):
            solver.sampling_stages(solver.process, "epsilon", 5, "uniform_log_snr")

    def test_steps_that_it_does_not_take(self):
        solver = solver_of("ddim leading")
        with pytest.raises(ConfigurationError, match=r"sampler\.steps = 1001"):
            solver.sampling_stages(solver.process, "epsilon", 1001)
        with pytest.raises(ConfigurationError, match="at least 1"):
            solver.sampling_stages(solver.process, "epsilon", 0)

    def test_a_dynamic_shift_without_mu(self):
        scheduler = AFFINE["flow euler, dynamic shift"]()
        with pytest.raises(ConfigurationError, match=r"mu.*settings"):
            SchedulerSolver(scheduler)

    def test_an_option_that_it_does_not_know(self):
        solver = SchedulerSolver(DIFFUSION["dpm++ 2m"](), options={"eta": 0.0})
        with pytest.raises(ConfigurationError, match=r"refuses its step.*eta"):
            solver.sampling_stages(solver.process, "epsilon", 5)

    def test_a_prediction_type_that_nobody_knows(self):
        scheduler = DIFFUSION["dpm++ 2m"]()
        scheduler.register_to_config(prediction_type="trigflow")
        with pytest.raises(ConfigurationError, match="prediction_type = 'trigflow'"):
            SchedulerSolver(scheduler)

    def test_stages_of_one_that_samples_directly(self):
        solver = SchedulerSolver(CLIPPING["ddim"][0](), directly=True)
        with pytest.raises(ConfigurationError, match=r"samples directly.*scores of weight draws"):
            solver.sampling_stages(solver.process, "epsilon", 5)
        assert solver.evaluations(solver.process, "epsilon", 5) == 5


class TestRestarting:
    @pytest.mark.parametrize("name", ["ddim leading", "euler", "heun", "euler ancestral", "flow euler, shift 3"])
    def test_without_memory_is_the_same_trajectory(self, name):
        solver = solver_of(name)
        model, sampler = model_of(solver), Sampler(solver, steps=6, seed=SEED)
        records = []
        whole = sample_latents(model, sampler, range(2), observers=[records.append])
        cut = grid_times(model, sampler)[3]
        there = next(record for record in records if record.stage.t_next == cut and not record.stage.intermediate)
        assert torch.equal(finish_latents(model, sampler, range(2), there.result, cut), whole)

    @pytest.mark.parametrize("name", ["dpm++ 2m", "unipc", "pndm"])
    def test_with_memory_starts_anew_as_image_to_image_pipelines_do(self, name):
        solver = solver_of(name)
        model, sampler = model_of(solver), Sampler(solver, steps=6, seed=SEED)
        times = grid_times(model, sampler)
        state = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1))
        found = finish_latents(model, sampler, range(2), state, times[3])
        theirs = solver.prepared(6)
        first = next(place for place, t in enumerate(sampler.stages(model)) if t.t == times[3])
        if hasattr(theirs, "set_begin_index"):
            theirs.set_begin_index(first)
        x = state
        with torch.no_grad():
            for time in theirs.timesteps[first:]:
                x = theirs.step(model.network(x, time.expand(2)), time, x, return_dict=False)[0]
        assert relative(found, x) < 1e-6

    def test_other_times_are_no_end_of_its_grid(self):
        solver = solver_of("dpm++ 2m")
        solver.sampling_stages(solver.process, "epsilon", 5)
        with pytest.raises(ConfigurationError, match="no end of a grid"):
            solver.stages(solver.process, "epsilon", [0.5, 0.25, 0.0])


def test_a_perfect_network_is_carried_along_the_path():
    solver = solver_of("unipc")
    probed = solver._probed(6, 0)
    begin = (float(solver.process.alpha(1.0)), float(solver.process.sigma(1.0)))
    *states, (alpha, sigma) = perfect_states(probed.rows, solver.prediction, solver.process, [begin])
    assert all(a**2 + s**2 == pytest.approx(1, abs=1e-6) for a, s in states)
    assert (alpha, sigma) == pytest.approx((1, 0), abs=1e-6)
