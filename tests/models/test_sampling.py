"""Sampling: a sample belongs to its index, observers only watch, and any module can be sampled."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DModel
from torch import nn

from genuq.errors import ConfigurationError, NonFiniteError
from genuq.models import (
    Autoencoder,
    GenerativeModel,
    Sampler,
    StageRecord,
    metered,
    sample,
    sample_latents,
    to_bytes,
    to_unit,
)
from genuq.networks import DiT, UNet
from genuq.processes import conversion
from genuq.randomness import ANCESTRAL, INITIAL, generator
from genuq.solvers import DDIM, DDPM, DDPMLearned, DPMSolver2, DPMSolverPlusPlus2M, Euler, Heun, apply

SHAPE, CLASSES = (1, 8, 8), 3
NETWORKS = {
    "unet": lambda: UNet(SHAPE, channels=(8, 16), num_classes=CLASSES),
    "dit": lambda: DiT(SHAPE, width=16, depth=1, heads=2, num_classes=CLASSES),
}


def random_model(name: str = "unet", process: str = "flow_matching", prediction: str = "flow") -> GenerativeModel:
    """Random weights everywhere, so that no zero-initialised head hides a difference."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return GenerativeModel(network, SHAPE, process, prediction, CLASSES)


class TestIdentity:
    """Image n is the same at any batch size and in any order."""

    @pytest.mark.parametrize("network", NETWORKS)
    @pytest.mark.parametrize(
        "solver,process,prediction",
        [
            (Heun(), "flow_matching", "flow"),
            (DPMSolverPlusPlus2M(), "variance_preserving", "v_prediction"),
            (DDPM(), "variance_preserving", "sample"),
            (DDIM(0.5), "flow_matching", "flow"),
        ],
    )
    def test_of_batch_size_and_order(self, network, solver, process, prediction):
        model = random_model(network, process, prediction)
        order = torch.randperm(64, generator=torch.Generator().manual_seed(0)).tolist()[:8]

        def images(batch_size: int, indices) -> torch.Tensor:
            return sample(model, Sampler(solver, steps=2, guidance_scale=1.5, batch_size=batch_size), indices)

        whole = images(64, range(64))
        torch.testing.assert_close(images(7, range(64)), whole, rtol=0, atol=1e-5)
        torch.testing.assert_close(images(1, range(6)), whole[:6], rtol=0, atol=1e-5)
        torch.testing.assert_close(images(7, order), whole[order], rtol=0, atol=1e-5)
        assert (whole[0] - whole[3]).abs().amax() > 0.05, "same class, other noise: other image"

    def test_of_the_seed(self):
        model = random_model()
        first, again, other = (sample(model, Sampler(steps=2, seed=seed), [5]) for seed in (0, 0, 1))
        assert torch.equal(first, again)
        assert not torch.allclose(first, other, atol=0.05)


class TestObservers:
    @pytest.mark.parametrize("solver", [DDPM(), Heun(), DPMSolver2(), DPMSolverPlusPlus2M()])
    def test_see_every_stage_and_change_nothing(self, solver):
        model, records = random_model(process="variance_preserving", prediction="epsilon"), list[StageRecord]()
        sampler = Sampler(solver, steps=4)
        watched = sample_latents(model, sampler, range(3), observers=[records.append])
        assert torch.equal(watched, sample_latents(model, sampler, range(3)))
        assert [record.stage for record in records] == sampler.stages(model)
        assert torch.equal(records[-1].result, watched)
        for record in records:
            remade = apply(record.stage, record.states, record.predictions, record.noise)
            assert torch.equal(remade, record.result)

    def test_are_shown_the_networks_predictions(self):
        model, records = random_model(), list[StageRecord]()
        sample_latents(model, Sampler(steps=3, guidance_scale=2.0), [0, 1], observers=[records.append])
        for record in records:
            t = torch.full((2,), record.stage.t)
            expected = model.guided(record.states[0], t, torch.tensor([0, 1]), 2.0)
            torch.testing.assert_close(record.predictions[0], expected)


class TestRun:
    def test_is_the_loop_of_the_paper(self):
        """DDIM by hand: x_s = alpha_s x0_hat + sigma_s eps_hat, from the keyed noise."""
        model = random_model(process="variance_preserving", prediction="v_prediction")
        x = torch.randn(SHAPE, generator=generator(0, 4, INITIAL))[None] * float(model.process.sigma(1.0))
        label = torch.tensor([4 % CLASSES])
        for step in range(5):
            t, s = 1 - step / 5, 1 - (step + 1) / 5
            with torch.no_grad():
                f = model.network.eval()(x, torch.tensor([t]), label)
            a, b, c, d = (float(number) for number in conversion("v_prediction", model.process, t))
            x = float(model.process.alpha(s)) * (a * x + b * f) + float(model.process.sigma(s)) * (c * x + d * f)
        torch.testing.assert_close(sample_latents(model, Sampler(DDIM(), steps=5), [4]), x, rtol=1e-4, atol=1e-5)

    def test_starts_at_the_noise_level_of_the_first_time(self):
        """DPM-Solver on flow matching starts at t = 0.999, where x_t is 0.999 of the noise (and a little data)."""
        model, records = random_model(), list[StageRecord]()
        sampler = Sampler(DPMSolver2(), steps=1)
        sample_latents(model, sampler, [3], observers=[records.append])
        torch.testing.assert_close(records[0].states[0], 0.999 * sampler.initial_noise(model, [3]), rtol=1e-6, atol=0)

    def test_given_initial_noise_replaces_the_samples_own(self):
        model, sampler = random_model(), Sampler(steps=2, batch_size=2)
        own = sampler.initial_noise(model, range(5))
        assert torch.equal(sample(model, sampler, range(5), initial_noise=own), sample(model, sampler, range(5)))
        moved = sample(model, sampler, range(5), initial_noise=own.flip(0))
        assert not torch.allclose(moved, sample(model, sampler, range(5)), atol=0.05)

    def test_evaluations_are_what_the_network_is_asked(self):
        for solver, scale in ((Euler(), 1.0), (Heun(), 1.0), (DPMSolver2(), 3.0)):
            model, rows = random_model(), []
            model.network.register_forward_hook(lambda module, inputs, output, rows=rows: rows.append(len(output)))
            sampler = Sampler(solver, steps=4, guidance_scale=scale)
            sample(model, sampler, [0])
            assert sum(rows) == sampler.evaluations(model)

    def test_images_are_clamped_floats_and_progress_counts_them(self):
        done: list[int] = []
        images = sample(random_model(), Sampler(steps=1, batch_size=4), range(10), progress=done.append)
        assert done == [4, 4, 2]
        assert images.dtype == torch.float32
        assert images.abs().amax() <= 1

    def test_divergence_is_an_error(self):
        model = random_model()
        model._call = lambda network, x, t, y: torch.full_like(x, torch.inf)
        with pytest.raises(NonFiniteError, match="sampler diverged"):
            sample(model, Sampler(steps=2), range(2))

    @pytest.mark.parametrize(
        "options,match",
        [({"batch_size": 0}, "batch_size = 0"), ({"steps": 0}, "steps = 0"), ({"spacing": "log"}, "spacing = 'log'")],
    )
    def test_impossible_settings_are_refused(self, options, match):
        with pytest.raises(ConfigurationError, match=match):
            sample(random_model(), Sampler(**options), range(2))

    def test_no_samples_are_refused(self):
        with pytest.raises(ConfigurationError, match="No samples"):
            sample(random_model(), Sampler(), [])


def test_bytes_are_the_nearest_of_256_levels():
    images = torch.tensor([-1.0, 1.0, 0.0, -0.9999, 1.7]).reshape(1, 1, 1, 5)
    assert to_bytes(images).flatten().tolist() == [0, 255, 128, 0, 255]
    levels = torch.arange(256)
    assert torch.equal(to_bytes((levels / 127.5 - 1).reshape(1, 1, 16, 16)).flatten().long(), levels)


def test_units_are_the_bytes_before_rounding():
    images = torch.linspace(-1.2, 1.2, 100).reshape(1, 1, 10, 10)
    assert to_unit(images).min() == 0
    assert to_unit(images).max() == 1
    assert torch.equal((255 * to_unit(images)).round().to(torch.uint8), to_bytes(images))


class TestForeignModules:
    class Foreign(nn.Module):
        """Takes (labels, sample, noise level of 0 to 1000) and predicts a learned variance that sampling drops."""

        def __init__(self):
            super().__init__()
            self.tail = nn.Conv2d(3, 2, 3, padding=1)
            self.labels = nn.Embedding(4, 1)

        def forward(self, labels, sample, *, sigma):
            level = (sigma / 1000)[:, None, None, None].expand_as(sample)
            label = self.labels(labels)[:, :, None, None].expand_as(sample)
            return {"mean_and_variance": self.tail(torch.cat([sample, level, label], 1))}

    def test_another_signature_through_call(self):
        torch.manual_seed(0)
        network = self.Foreign()
        model = GenerativeModel(
            network,
            SHAPE,
            num_classes=3,
            head="tail",
            call=lambda net, x, t, y: net(y, x, sigma=1000 * t)["mean_and_variance"][:, :1],
        )
        with torch.no_grad():
            x = Sampler().initial_noise(model, [1])
            for step in range(2):
                velocity = network(torch.tensor([1]), x, sigma=torch.tensor([1000 - 500.0 * step]))["mean_and_variance"]
                x = x - 0.5 * velocity[:, :1]
        torch.testing.assert_close(sample(model, Sampler(steps=2), [1]), x.clamp(-1, 1))

    def test_a_diffusers_unet_gives_diffusers_images(self):
        """The same network and noise through diffusers' own DDIM loop (trailing spacing starts at timestep 999)."""
        torch.manual_seed(0)
        network = UNet2DModel(
            sample_size=8,
            in_channels=1,
            out_channels=1,
            layers_per_block=1,
            block_out_channels=(8, 8),
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
        )
        model = GenerativeModel(
            network,
            SHAPE,
            process="variance_preserving",
            prediction="epsilon",
            call=lambda net, x, t, y: net(x, 1000 * t - 1).sample,
        )
        assert model.head_name == "conv_out"
        found = sample_latents(model.eval(), Sampler(DDIM(), steps=10), range(2))
        scheduler = DDIMScheduler(
            1000, beta_start=1e-4, beta_end=0.02, clip_sample=False, timestep_spacing="trailing", set_alpha_to_one=True
        )
        scheduler.set_timesteps(10)
        x = Sampler().initial_noise(model, range(2)) * float(model.process.sigma(1.0))
        with torch.no_grad():
            for timestep in scheduler.timesteps:
                x = scheduler.step(network(x, timestep).sample, timestep, x).prev_sample
        torch.testing.assert_close(found, x, rtol=2e-3, atol=2e-3 * float(x.abs().amax()))


class Wild(nn.Module):
    """Predictions whose x0_hat leaves the range of images at most pixels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x, t, y=None):
        return 3 * torch.tanh(self.layer(x))


def wild_model(prediction: str) -> GenerativeModel:
    return GenerativeModel(Wild().eval(), SHAPE, "variance_preserving", prediction)


class TestClipping:
    @pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
    def test_is_diffusers_with_its_clipped_output_used(self, prediction):
        """DDIM with eta = 0, x0_hat clipped to [-1, 1] and eps_hat made of it (`use_clipped_model_output`)."""
        model = wild_model(prediction)
        found = sample_latents(model, Sampler(DDIM(), steps=10, clip_x0=True), range(2))
        scheduler = DDIMScheduler(
            1000,
            beta_start=1e-4,
            beta_end=0.02,
            prediction_type=prediction,
            clip_sample=True,
            timestep_spacing="trailing",
            set_alpha_to_one=True,
        )
        scheduler.set_timesteps(10)
        x = Sampler().initial_noise(model, range(2)) * float(model.process.sigma(1.0))
        with torch.no_grad():
            for timestep in scheduler.timesteps:
                x = scheduler.step(model.network(x, timestep), timestep, x, use_clipped_model_output=True).prev_sample
        torch.testing.assert_close(found, x, rtol=2e-3, atol=2e-3)
        plain = sample_latents(model, Sampler(DDIM(), steps=10), range(2))
        assert float(found.abs().max()) <= 1 + 1e-5 < float(plain.abs().max())

    @pytest.mark.parametrize("solver", [Euler(), Heun(), DDPM(), DPMSolver2(), DPMSolverPlusPlus2M()])
    def test_every_solver_sees_x0_within_the_range(self, solver):
        model, seen = wild_model("epsilon"), []

        def see(record: StageRecord) -> None:
            on_x, on_f = (float(number) for number in conversion("epsilon", model.process, record.stage.t)[:2])
            seen.append(float((on_x * record.states[0] + on_f * record.predictions[0]).abs().max()))

        sample_latents(model, Sampler(solver, steps=4, clip_x0=True), range(2), observers=[see])
        assert max(seen) <= 1 + 1e-3  # float32 where alpha is small

    def test_changes_nothing_where_x0_lies_within(self):
        model = GenerativeModel(Wild().eval(), SHAPE, "flow_matching", "sample", call=lambda f, x, t, y: 0.3 * f(x, t))
        plain, clipped = (sample(model, Sampler(steps=4, clip_x0=clip), range(3)) for clip in (False, True))
        assert torch.equal(plain, clipped)

    def test_needs_a_range(self):
        points = GenerativeModel(nn.Linear(2, 2), (2,), call=lambda f, x, t, y: f(x))
        latent = GenerativeModel(nn.Conv2d(1, 1, 1), SHAPE, autoencoder=Doubling(), call=lambda f, x, t, y: f(x))
        for model in (points, latent):
            with pytest.raises(ConfigurationError, match="clip_x0 = true clips to the range of images"):
                sample(model, Sampler(clip_x0=True), [0])


class Doubling(Autoencoder):
    """Latents twice as large."""

    def encode(self, images):
        return 2 * images

    def decode(self, latents):
        return latents / 2


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 9), (1, 8)])
def test_initial_noise_of_another_shape_is_refused(shape):
    with pytest.raises(ConfigurationError, match=r"states of shape .* for 2 samples: give one of \(1, 8, 8\) for each"):
        sample(random_model(), Sampler(steps=1), range(2), initial_noise=torch.zeros(2, *shape))


def test_latent_models_run_in_the_latents_and_decode_once_a_batch():
    class Halving(Autoencoder):
        """Latents are every second pixel, doubled."""

        def latent_shape(self, image_shape):
            return (image_shape[0], image_shape[1] // 2, image_shape[2] // 2)

        def decode(self, latents):
            self.decoded = getattr(self, "decoded", 0) + 1
            return latents.repeat_interleave(2, -1).repeat_interleave(2, -2) / 2

    torch.manual_seed(0)
    model = GenerativeModel(UNet((1, 8, 8), channels=(8,)), (1, 16, 16), autoencoder=Halving())
    model.autoencoder.decoded, sampler = 0, Sampler(steps=3, batch_size=2)
    latents = sample_latents(model, sampler, range(4))
    assert latents.shape == (4, 1, 8, 8)
    images = sample(model, sampler, range(4))
    assert model.autoencoder.decoded == 2
    torch.testing.assert_close(images[..., ::2, ::2], (latents / 2).clamp(-1, 1), rtol=0, atol=1e-5)


class LearnsItsNoise(nn.Module):
    """Epsilon, then what it says of the noise of a step, from 8 x 8 images in one channel and their classes."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.head((x + 0.1 * y.reshape(-1, 1, 1, 1)).sin())


def model_of_learned_noise() -> GenerativeModel:
    torch.manual_seed(0)
    return GenerativeModel(
        LearnsItsNoise(), SHAPE, "variance_preserving", "epsilon", CLASSES, learns_variance=True
    ).eval()


class TestLearnedVariance:
    @pytest.mark.parametrize("scale", [1.0, 2.5])
    def test_is_the_chain_of_the_paper(self, scale):
        """In float64 by betas alone; guidance moves epsilon, the noise is what is said of the class asked for."""
        model, steps = model_of_learned_noise(), 4
        abar = model.process.alpha(torch.linspace(1, 0, steps + 1, dtype=torch.float64)).square().tolist()
        source = generator(0, 4, ANCESTRAL)
        x = torch.randn(SHAPE, generator=generator(0, 4, INITIAL))[None].double() * (1 - abar[0]) ** 0.5
        network = model.network.double()
        for here, there in pairwise(abar):
            own, null = (network(x, None, torch.tensor([y])) for y in (4 % CLASSES, CLASSES))
            epsilon, share = own[:, :1], (own[:, 1:] + 1) / 2
            epsilon = (1 - scale) * null[:, :1] + scale * epsilon
            beta = 1 - here / there
            x = (x - beta / (1 - here) ** 0.5 * epsilon) / (1 - beta) ** 0.5
            if there < 1:
                log_variance = share * math.log(beta) + (1 - share) * math.log(beta * (1 - there) / (1 - here))
                x = x + (log_variance / 2).exp() * torch.randn(SHAPE, generator=source)
        model.network.float()
        sampler = Sampler(DDPMLearned(), steps=steps, guidance_scale=scale)
        torch.testing.assert_close(sample_latents(model, sampler, [4]).double(), x.detach(), rtol=1e-4, atol=1e-5)

    def test_observers_see_noise_that_makes_the_step_and_how_much_it_was(self):
        model, records = model_of_learned_noise(), list[StageRecord]()
        sample_latents(model, Sampler(DDPMLearned(), steps=3), range(2), observers=[records.append])
        for record in records:
            assert torch.equal(apply(record.stage, record.states, record.predictions, record.noise), record.result)
        said = model.network(records[0].states[0], None, torch.tensor([0, 1]))[:, 1:]
        torch.testing.assert_close(records[0].deviation, records[0].stage.learned_noise(said.double()))
        assert records[-1].deviation == 0 and records[-1].noise is None

    def test_costs_one_evaluation_a_step_and_reads_no_variance_elsewhere(self):
        model = model_of_learned_noise()
        with metered(model) as meter:
            sample_latents(model, Sampler(DDPMLearned(), steps=3), range(2))
        assert meter.evaluations["sampling"] == 3 * 2
        x = torch.randn(2, *SHAPE)
        assert torch.equal(
            model(x, torch.full((2,), 0.5), torch.tensor([0, 1])), model.network(x, None, torch.tensor([0, 1]))[:, :1]
        )

    def test_is_refused_by_name_where_the_network_says_none(self):
        with pytest.raises(
            ConfigurationError, match=r"sampler=ddpm_learned .* UNet learns no variance: .*sampler=ddpm"
        ):
            sample(random_model(process="variance_preserving"), Sampler(DDPMLearned(), steps=2), [0])
