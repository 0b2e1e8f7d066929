"""A pipeline of diffusers as a model: what is read off it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from genuq.errors import ConfigurationError
from genuq.models import Autoencoder, DiffusersAutoencoder, Guidance, evaluating
from genuq.models.offloaded import require_readable
from genuq.pretrained.adapted import PretrainedModel, find_traced_head
from genuq.pretrained.bare import from_network
from genuq.pretrained.distilled import doubt_of
from genuq.pretrained.family import Asked, Family, call_defaults
from genuq.pretrained.modular import ordinary
from genuq.pretrained.prompts import blank_conditions, conditions_of
from genuq.pretrained.register import family_of


def from_pipeline(
    pipe: Any,
    prompts: str | Sequence[str] | None = None,
    negative_prompt: str | Sequence[str] | None = None,
    height: int | None = None,
    width: int | None = None,
    frames: int | None = None,
    embedded_guidance: float | None = None,
    max_sequence_length: int | None = None,
    guidance: Guidance | None = None,
    head: str | None = None,
    captions: Sequence[str] = (),
    scheduler: Any = None,
    outline: bool = False,
) -> PretrainedModel:
    """A pipeline of diffusers as a model: its network, process, autoencoder, prompts and guidance.

    Args:
        pipe: the pipeline; it is read and stays as it is. The model works on its network, not on a copy. Or a
            modular pipeline, or a bare network of diffusers with its scheduler; see `from_network`.
        prompts: what samples are asked for with; sample i gets prompt i modulo their number. None: the captions.
        negative_prompt: of the null row, one for all prompts or one for each; None: what the pipeline takes then.
        height, width: of the images in pixels; None: the pipeline's default.
        frames: of films; 1: single images; None: the pipeline's default.
        embedded_guidance: the scale that a guidance-distilled network (FLUX.1) is told; None: the pipeline's default.
        max_sequence_length: of the texts in tokens (256 for FLUX.1 schnell, say); None: the pipeline's default.
        guidance: in place of the family's own, for instance `genuq.models.CLASSIFIER_FREE`.
        head: dotted name of the last weighted layer; None: found by tracing a forward pass.
        captions: texts of the images of a fit, whose labels are their numbers; none: the labels number the prompts.
        scheduler: of a bare network, or in place of the pipeline's own.
        outline: its networks are on the meta device, for a plan: prompts are counted and not encoded.

    Raises:
        ConfigurationError: a bare network without scheduler, a class of pipelines that is not known, prompts missing,
            or given to a model without, an autoencoder whose scaling is not known, sides that it cannot have, or
            another problem that is named.
    """
    if isinstance(pipe, torch.nn.Module):
        unread = [prompts, negative_prompt, height, width, frames, embedded_guidance, max_sequence_length, *captions]
        return _from_bare(pipe, scheduler, guidance, head, any(each is not None for each in unread))
    own = ordinary(pipe)
    pipe = own.pipe
    kind: type[Family] = family_of([base.__name__ for base in type(pipe).__mro__])
    asked_prompts = _prompts(pipe, kind, prompts, negative_prompt, captions)
    network, autoencoder = _network(pipe, kind), _autoencoder(pipe)
    shape = _shape(pipe, kind, height, width, frames)
    with torch.no_grad(), evaluating(autoencoder):
        latent = tuple(autoencoder.latent_shape(shape))
    family = kind(pipe, Asked(shape, latent, embedded_guidance, max_sequence_length))
    if own.scale not in (None, 1.0) and negative_prompt is None and not family.guides(negative=False):
        negative_prompt = ""  # a modular pipeline's, where the ordinary one would not guide
    defaults, rows = call_defaults(pipe), blank_conditions if outline else conditions_of
    scale = family.genuq_scale(float(defaults.get(kind.scale, 1.0)), negative_prompt is not None)
    model = PretrainedModel(
        family,
        network,
        pipe.scheduler if scheduler is None else scheduler,
        int(own.steps or defaults.get("num_inference_steps", 50)),
        scale if own.scale is None else own.scale,
        num_classes=0 if kind.prompted else kind.num_classes(pipe),
        autoencoder=autoencoder,
        head=head,
        conditions=rows(pipe, family, [*captions, *asked_prompts], negative_prompt) if kind.prompted else None,
        guidance=guidance or family.guidance,
    )
    if family.guidance is None or model.guidance is None:
        model.scale = 1.0
    model.doubt = doubt_of(type(pipe).__name__, network, model.scheduler, pipe, kind.distillation)
    if kind.prompted and captions:
        model.data_classes = len(captions)
        model.asked = range(len(captions) if asked_prompts else 0, model.num_classes)
    if head is None:
        find_traced_head(model, outline)
    return model


def _from_bare(
    network: torch.nn.Module, scheduler: Any, guidance: Guidance | None, head: str | None, more: bool
) -> PretrainedModel:
    """A bare network with its scheduler.

    Args:
        more: what only pipelines read is given too.
    """
    name = type(network).__name__
    if scheduler is None:
        raise ConfigurationError(f"{name} is a network: give its scheduler=..., or a whole pipeline.")
    if more:
        raise ConfigurationError(
            f"{name} is a network, of which only scheduler, guidance and head are read here: give the whole pipeline "
            "for prompts and sides, or genuq.pretrained.from_network a shape and conditions."
        )
    return from_network(network, scheduler, guidance=guidance, head=head)


def _network(pipe: Any, kind: type[Family]) -> Any:
    """The pipeline's network, whose weights must be somewhere."""
    network = getattr(pipe, kind.component)
    require_readable(network)
    return network


def _prompts(pipe: Any, kind: type[Family], prompts: Any, negative: Any, captions: Sequence[str]) -> list[str]:
    name = type(pipe).__name__
    if not kind.prompted:
        if prompts is not None or negative is not None:
            raise ConfigurationError(
                f"prompts are given (model.prompts, model.negative_prompt), but {name} takes none: leave them out."
            )
        return []
    listed = [prompts] if isinstance(prompts, str) else list(prompts or [])
    if not listed and not captions:
        raise ConfigurationError(f"{name} makes images of prompts, and none are given: prompts=['a photo of a cat'].")
    if not all(isinstance(prompt, str) for prompt in listed):
        raise ConfigurationError("prompts must be texts: prompts=['a photo of a cat'].")
    count = len(captions) + len(listed)
    if negative is not None and not isinstance(negative, str) and len(negative) != count:
        raise ConfigurationError(
            f"negative_prompt has {len(negative)} texts for {count} prompts{' and captions' if captions else ''}: give "
            "one for each, or one for all."
        )
    return listed


def _autoencoder(pipe: Any) -> Autoencoder:
    vae = getattr(pipe, "vae", None)
    return Autoencoder() if vae is None else DiffusersAutoencoder(vae)


def _shape(pipe: Any, kind: type[Family], height: int | None, width: int | None, frames: int | None) -> tuple[int, ...]:
    defaults = call_defaults(pipe)
    side = kind.side(pipe) if height is None or width is None else 0
    vae = getattr(pipe, "vae", None)
    channels = int(getattr(pipe, kind.component).config.in_channels) if vae is None else 3
    image = (channels, height or side, width or defaults.get("width") or side)
    if not kind.films:
        if frames is not None:
            raise ConfigurationError(f"frames = {frames}, but {type(pipe).__name__} makes images: leave it out.")
        return image
    count = int(defaults["num_frames"] if frames is None else frames)
    step = int(pipe.vae_scale_factor_temporal)
    if count < 1 or (count - 1) % step:
        raise ConfigurationError(
            f"frames = {count}, but {type(pipe).__name__} makes one frame and {step} more each time: give 1, "
            f"{step + 1}, {2 * step + 1}, ..."
        )
    return image if count == 1 else (channels, count, *image[1:])
