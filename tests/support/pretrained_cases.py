"""A family's small pipeline, read back by genuq and by diffusers, and the samples of both for the same noise."""

from __future__ import annotations

import functools
import inspect
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor

import genuq
from genuq.models import Sampler, finished, sample_latents, to_unit
from genuq.pretrained import PretrainedModel
from genuq.pretrained.family import packed, unpacked
from genuq.propagators import Coherent, Trajectory
from genuq.randomness import ANCESTRAL, generators, normal
from genuq.solvers.probing import SuppliedNoise
from support.small_pipelines import (
    BY_ACCELERATE,
    FILMS,
    NEGATIVE,
    PIPELINES,
    PROMPTS,
    TEXT_LENGTHS,
    UNPROMPTED,
    options_of,
    relative,
    saved,
    side_of,
)

STEPS = 3
CLASSES = [5, 7]
PACKED = ("flux", "qwen_image")


@functools.cache
def opened(family: str) -> tuple[PretrainedModel, Any]:
    """(genuq's model, the pipeline) of a folder that was saved once; nobody may change them."""
    with tempfile.TemporaryDirectory() as place:
        folder = saved(family, Path(place))
        if family in BY_ACCELERATE and find_spec("accelerate") is None:
            pipe = PIPELINES[family]()
            model = genuq.from_pipeline(PIPELINES[family](), **options_of(family))
        else:
            pipe = diffusers.DiffusionPipeline.from_pretrained(str(folder), use_safetensors=True)
            model = genuq.from_pretrained(folder, **options_of(family))
    pipe.set_progress_bar_config(disable=True)
    if hasattr(pipe, "tokenizer_max_length"):
        pipe.tokenizer_max_length = TEXT_LENGTHS.get(family, pipe.tokenizer_max_length)
    return model, pipe


def sampler_of(family: str, model: PretrainedModel, **options: Any) -> Sampler:
    """The pipeline's own sampler with few steps."""
    classes = {"classes": CLASSES} if family == "dit" else {}
    return model.sampler(**{"steps": STEPS, **classes, **options})


def noise_of(model: PretrainedModel) -> Tensor:
    return torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(0))


def genuqs_noise(model: PretrainedModel, sampler: Sampler, count: int = 2) -> SuppliedNoise:
    """Inside, a pipeline's scheduler draws the noise of genuq's samples 0, 1, ..., one stage after the other."""
    sources = generators(sampler.seed, range(count), ANCESTRAL)
    drawing = iter([stage.noise != 0 for stage in sampler.stages(model)])

    def supply(shape: Sequence[int]) -> Tensor:
        # a scheduler may draw some that it multiplies by nought
        return normal(sources, shape[1:]) if next(drawing) else torch.zeros(tuple(shape))

    return SuppliedNoise(supply)


def theirs(family: str, pipe: Any, noise: Tensor, output: str, **options: Any) -> Tensor:
    """What the pipeline makes of this noise, latents as genuq has them, or images in [0, 1]."""
    takes = inspect.signature(pipe.__call__).parameters
    given: dict[str, Any] = {"num_inference_steps": STEPS, "output_type": output}
    if family not in UNPROMPTED:
        given |= {"prompt": list(PROMPTS), "negative_prompt": [NEGATIVE] * 2}
        given |= {"height": side_of(family), "width": side_of(family)}
    given |= {"class_labels": list(CLASSES)} if family == "dit" else {"batch_size": 2} if family == "unet2d" else {}
    given |= {"max_sequence_length": TEXT_LENGTHS[family]} if family in TEXT_LENGTHS else {}
    given |= {"num_frames": 5 if noise.ndim == 5 else 1} if family in FILMS else {}
    given |= options
    given = {name: value for name, value in given.items() if name in takes}  # some have no scale, or no negative prompt
    if "use_resolution_binning" in takes:
        given["use_resolution_binning"] = False
    if "latents" in takes:
        alone = family in FILMS and noise.ndim == 4
        given["latents"] = packed(noise) if family in PACKED else noise[:, :, None] if alone else noise
    else:  # it draws them itself: the same as `noise_of`
        given["generator"] = torch.Generator().manual_seed(0)
    made = pipe(**given, return_dict=False)[0]
    made = torch.as_tensor(made).movedim(-1, 1) if output == "np" else made
    if family in FILMS:
        made = made if output == "latent" else made.transpose(1, 2)
        made = made[:, :, 0] if noise.ndim == 4 else made
    return unpacked(made, *noise.shape[2:]) if output == "latent" and family in PACKED else made


def differences(family: str, **scale: Any) -> dict[str, float]:
    """Relative differences of genuq's latents and images from the pipeline's, for the same noise."""
    model, pipe = opened(family)
    noise, sampler = noise_of(model), sampler_of(family, model, **scale)
    given = {} if not scale else {"guidance_scale": scale["guidance_scale"]}
    latents = sample_latents(model, sampler, [0, 1], noise)
    found = {}
    if family not in UNPROMPTED:
        found["latents"] = relative(latents, theirs(family, pipe, noise, "latent", **given))
    images = to_unit(finished(model, latents))
    # those that take no latents give images without "latent" among their outputs
    output = "np" if family in UNPROMPTED else "pt"
    found["images"] = relative(images, theirs(family, pipe, noise, output, **given))
    return found


def everything(
    model: PretrainedModel,
    images: Tensor,
    labels: Sequence[int] | None,
    sampler: Sampler,
    layers: Sequence[str] = ("*.to_q",),
) -> dict[str, Tensor]:
    """What a user does with any model: two fits, an ensemble, scores and variances, in ten lines."""
    data: dict[str, Any] = {"labels": labels, "images": 4, "held_out": 2, "batch_size": 3}
    exact = genuq.fit(model, images, **data).posterior
    kfac = genuq.fit(model, images, "kfac", layers=[*layers, model.head_name], **data).posterior
    members = genuq.finetune_ensemble(model, images, labels=labels, members=2, steps=1, batch_size=2)
    likelihood = genuq.PixelLikelihood(model.shape)
    found = {}
    for posterior in (exact, kfac, members):
        uncertain = genuq.generative_uncertainty(model, posterior, likelihood, sampler, [0, 1], draws=2)
        found[f"score of {type(posterior).__name__}"] = uncertain.score
    affine = sampler.guidance_scale == 1 or (model.guidance is not None and model.guidance.affine)
    for propagator in [Trajectory(), Coherent(draws=2)] if affine else [Coherent(draws=2)]:
        found[propagator.name] = genuq.propagate(model, exact, sampler, [0, 1], propagator).variance
    return found


def assert_the_pipelines_own(family: str, **scale: Any) -> None:
    found = differences(family, **scale)
    assert max(found.values()) < 1e-5, found
