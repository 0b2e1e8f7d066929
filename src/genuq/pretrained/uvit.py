"""`model=uvit`: the networks of U-ViT, of pixels and of Stable Diffusion's latents."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from genuq.models import CLASSIFIER_FREE, DiffusersAutoencoder, GenerativeModel
from genuq.networks.published import FAMILIES
from genuq.networks.uvit import UViTSettings
from genuq.parts.bounds import OneOf
from genuq.pretrained.adm import schedule_of
from genuq.pretrained.released import autoencoder_of, image_shape, network_of, released, with_guide
from genuq.processes import ContinuousVP, Process


def process_of(preset: str) -> Process:
    """The largest were trained on Stable Diffusion's betas and are told 1 to 1000; the others in continuous time."""
    return schedule_of("scaled_linear", first=1) if preset.endswith("_huge") else ContinuousVP()


def is_latent(preset: str) -> bool:
    """Whether a released network is of latents; those were trained with a null class, their last one."""
    return preset.startswith(("imagenet_256", "imagenet_512"))


@released("uvit", label="U-ViT")
def uvit(
    preset: Annotated[str, OneOf(*FAMILIES["uvit"].presets)] = "imagenet_256_huge",
    checkpoint: Path | None = None,
    autoencoder: Path | None = None,
    changed: dict[str, Any] | None = None,
    guide: Path | None = None,
    guide_preset: Annotated[str, OneOf(*FAMILIES["uvit"].presets)] | None = None,
    guide_changed: dict[str, Any] | None = None,
    outline: bool = False,
) -> GenerativeModel:
    """A network of U-ViT (Bao et al. 2023), by the file that was released or one of the same kind.

    Args:
        preset: whose settings it has.
        checkpoint: its weights, safetensors or the .pth as it was released; null: random ones, for a training.
        autoencoder: of the presets of latents: the folder to which one of diffusers' was saved, sd-vae-ft-ema for the
            huge ones.
        changed: settings of the network in place of the preset's, by U-ViT's names: {depth: 4}.
        guide: weights of a second network, away from which `sampler.guidance_scale` s goes, (1 - s) f(guide) + s f: a
            smaller or less trained one (autoguidance), or one that knows no classes. It has no posterior.
        guide_preset: whose settings it has; null: `preset`.
        guide_changed: settings of it in place of its preset's; empty: `changed`.
        outline: on torch's meta device, for a plan.

    Raises:
        ConfigurationError: an unknown preset or setting, a file or a folder that is missing.
        CheckpointError: a file of another network, which is named.
    """
    around = autoencoder_of(autoencoder, is_latent(preset), preset, outline)
    second = partial(_model, around=None, outline=outline, key="model.guide")
    model = _model(preset, checkpoint, changed, around, outline)
    return with_guide(model, second, guide_preset or preset, guide, guide_changed or changed)


def _model(
    preset: str,
    checkpoint: Path | None,
    changed: dict[str, Any] | None,
    around: DiffusersAutoencoder | None,
    outline: bool,
    key: str = "model.checkpoint",
) -> GenerativeModel:
    settings: UViTSettings = FAMILIES["uvit"].settings(preset, changed)
    latent, side = is_latent(preset), settings.img_size
    return GenerativeModel(
        network_of("uvit", settings, preset, checkpoint, key, outline),
        image_shape(around, (settings.in_chans, side, side)),
        process=process_of(preset),
        prediction="epsilon",
        num_classes=max(0, settings.num_classes - latent),
        autoencoder=around,
        head="final_layer" if settings.conv else "decoder_pred",
        guidance=CLASSIFIER_FREE if latent and settings.num_classes else None,
    )
