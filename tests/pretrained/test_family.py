"""What families share: packing, the shift of the grid, precision, a head that sees the image alone."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import Tensor, nn

import genuq
from genuq.errors import ConfigurationError
from genuq.models import sample_latents
from genuq.models.precision import cast
from genuq.pretrained import PretrainedModel
from genuq.pretrained.family import at_positions, dtype_of, dynamic_shift, even_sigmas, packed, unpacked
from support.pretrained_cases import PACKED, noise_of, sampler_of, theirs
from support.small_pipelines import PIPELINES, TEXT_LENGTHS, UNPROMPTED, options_of, relative, seeded


def test_packing_is_diffusers_own() -> None:
    x = torch.randn(2, 4, 6, 8)
    assert torch.equal(packed(x), FluxPipeline._pack_latents(x, 2, 4, 6, 8))
    assert torch.equal(unpacked(packed(x), 6, 8), x)


@pytest.mark.parametrize("tokens", [4, 256, 4096])
def test_the_shift_is_diffusers_own(tokens: int) -> None:
    assert dynamic_shift(FlowMatchEulerDiscreteScheduler(), tokens) == pytest.approx(calculate_shift(tokens), rel=1e-12)


def test_even_sigmas_end_above_nought() -> None:
    assert even_sigmas(4) == [1.0, 0.75, 0.5, 0.25]


def test_rows_are_cast_and_masks_are_not() -> None:
    found = cast({"text": [torch.ones(2)], "mask": torch.ones(2, dtype=torch.bool), "n": 3}, torch.float64)
    assert found["text"][0].dtype == torch.float64 and found["mask"].dtype == torch.bool and found["n"] == 3


def test_the_precision_is_read_off_the_parameters() -> None:
    assert dtype_of(nn.Linear(2, 2).to(torch.bfloat16)) == torch.bfloat16


def test_a_head_at_positions_sees_and_gives_these_alone() -> None:
    head, tokens, positions = nn.Linear(3, 2), torch.randn(2, 5, 3), torch.tensor([[1, 2], [3, 4]])
    seen: list[torch.Tensor] = []
    head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    whole = head(tokens)
    with at_positions(head, positions):
        found = head(tokens)
    assert torch.equal(seen[-1], torch.stack([tokens[0, 1:3], tokens[1, 3:5]]))
    expected = torch.zeros_like(whole)
    expected[0, 1:3], expected[1, 3:5] = whole[0, 1:3], whole[1, 3:5]
    torch.testing.assert_close(found, expected)
    assert torch.equal(head(tokens), whole), "nothing of it stays"


def last_state(family: str, pipe: Any, noise: Tensor) -> Tensor:
    """The pipeline's state after its last step, as genuq has it; not all give it out, and UNet2D's no image in bf16."""
    kept: list[Tensor] = []
    step = pipe.scheduler.step

    def watched(*given: Any, **options: Any) -> Any:
        made = step(*given, **options)
        kept.append(made[0])
        return made

    pipe.scheduler.step = watched
    given = noise if pipe_keeps_float32(family) else noise.bfloat16()
    with contextlib.suppress(TypeError):
        theirs(family, pipe, given, "np" if family in UNPROMPTED else "latent")
    state = kept[-1][:2]  # DiT's pipeline carries a second half for the null class
    if family in PACKED:
        return unpacked(state, *noise.shape[2:])
    return (state.mT if state.ndim == 3 else state).reshape(noise.shape)


def pipe_keeps_float32(family: str) -> bool:
    """Whether the pipeline wants float32 states beside a network in half precision; Sana's takes them in its own."""
    return family in ("z_image", "wan")


class TestHalfPrecision:
    """Networks in bfloat16: times and states stay float32."""

    def made(self, family: str, dtype: torch.dtype) -> tuple[PretrainedModel, Any]:
        pipe = seeded(PIPELINES[family])().to(dtype=dtype)
        pipe.set_progress_bar_config(disable=True)
        if hasattr(pipe, "tokenizer_max_length"):
            pipe.tokenizer_max_length = TEXT_LENGTHS.get(family, pipe.tokenizer_max_length)
        options = options_of(family)
        # FLUX.2's pipeline takes the embeddings of a negative prompt, and without them those of the empty text
        options |= {"negative_prompt": ""} if family == "flux2" else {}
        return genuq.from_pipeline(pipe, **options), pipe

    def samples(self, family: str, dtype: torch.dtype) -> Tensor:
        model, _ = self.made(family, dtype)
        return sample_latents(model, sampler_of(family, model), [0, 1], self.noise(model))

    def noise(self, model: PretrainedModel) -> Tensor:
        return noise_of(model).bfloat16().float()

    @pytest.mark.parametrize("family", ["z_image", "sana"])
    def test_samples_are_those_of_pipelines_whose_states_are_float32(self, family: str) -> None:
        model, pipe = self.made(family, torch.bfloat16)
        given = self.noise(model)
        expected = theirs(family, pipe, given if family == "z_image" else given.bfloat16(), "latent")
        assert relative(self.samples(family, torch.bfloat16), expected) < 1e-3

    def test_samples_are_nearer_to_float32_than_those_of_pipelines_that_round_their_states(self) -> None:
        model, pipe = self.made("stable_diffusion", torch.bfloat16)
        rounded = theirs("stable_diffusion", pipe, self.noise(model).bfloat16(), "latent").float()
        exact = self.samples("stable_diffusion", torch.float32)
        ours = self.samples("stable_diffusion", torch.bfloat16)
        assert relative(ours, exact) < relative(rounded, exact) < 0.05

    @pytest.mark.parametrize("family", PIPELINES)
    def test_rounded_as_the_pipeline_rounds_samples_are_its_own(self, family: str) -> None:
        """States, answers and guidance in the precisions of each family's pipeline."""
        model, pipe = self.made(family, torch.bfloat16)
        noise = self.noise(model)
        found = sample_latents(model, sampler_of(family, model, directly=True, rounds=True), [0, 1], noise)
        assert found.dtype == torch.float32
        assert relative(found, last_state(family, pipe, noise)) < 1e-3

    def test_rounding_is_asked_for_with_the_scheduler_itself(self) -> None:
        model, _ = self.made("unet2d", torch.bfloat16)
        with pytest.raises(ConfigurationError, match=r"set sampler\.directly=true too"):
            sampler_of("unet2d", model, rounds=True)

    def test_times_stay_float32_and_fits_and_scores_work(self) -> None:
        model, _ = self.made("stable_diffusion", torch.bfloat16)
        told: list[torch.dtype] = []
        call = model.family.call

        def watching(network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
            told.append(time_B.dtype)
            return call(network, x, time_B, rows)

        model.family.call = watching  # type: ignore[method-assign]
        images = torch.rand(6, *model.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
        fitted = genuq.fit(model, images, labels=[0, 1] * 3, images=4, held_out=2)
        sampler = sampler_of("stable_diffusion", model, steps=1)
        likelihood = genuq.PixelLikelihood(model.shape)
        found = genuq.generative_uncertainty(model, fitted.posterior, likelihood, sampler, [0, 1], draws=2)
        assert set(told) == {torch.float32}
        assert found.score.isfinite().all() and (found.draws[:, 0] != found.draws[:, 1]).any()

    def test_weights_stored_in_float8_fit_and_sample(self) -> None:
        """diffusers' layerwise casting, whose hooks cast each layer's weights as it runs."""
        pipe = seeded(PIPELINES["stable_diffusion"])()
        pipe.unet.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
        model = genuq.from_pipeline(pipe, **options_of("stable_diffusion"))
        assert torch.float8_e4m3fn in {value.dtype for value in model.network.parameters()}
        images = torch.rand(6, *model.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
        assert genuq.fit(model, images, labels=[0, 1] * 3, images=4, held_out=2).chosen.scale.observation_noise > 0
        assert sample_latents(model, sampler_of("stable_diffusion", model, steps=1), [0]).isfinite().all()
