"""`model=adm`: the networks of guided-diffusion, with or without the classifier that guides them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel
from genuq.models.guidance import by_classifier
from genuq.networks.adm import ADMSettings
from genuq.networks.published import FAMILIES
from genuq.parts.bounds import OneOf
from genuq.pretrained.released import network_of, released, with_guide
from genuq.processes import ScheduledDiffusion, VariancePreserving

TIMESTEPS = 1000
COSINE = ("imagenet_64",)  # presets of this schedule; the others are linear


def schedule_of(name: str, first: int = 0) -> ScheduledDiffusion:
    """The path of a table of betas whose networks are told its timesteps.

    Args:
        name: of `VariancePreserving`'s schedules.
        first: what they are told of the first entry.
    """
    nodes = torch.arange(1, TIMESTEPS + 1, dtype=torch.float64) / TIMESTEPS
    return ScheduledDiffusion(VariancePreserving(name, TIMESTEPS).alpha(nodes).square(), first)


@released("adm", label="ADM (guided-diffusion)")
def adm(
    preset: Annotated[str, OneOf(*FAMILIES["adm"].presets)] = "imagenet_128",
    checkpoint: Path | None = None,
    classifier: Path | None = None,
    schedule: Annotated[str, OneOf("linear", "cosine")] | None = None,
    changed: dict[str, Any] | None = None,
    classifier_changed: dict[str, Any] | None = None,
    guide: Path | None = None,
    guide_preset: Annotated[str, OneOf(*FAMILIES["adm"].presets)] | None = None,
    guide_changed: dict[str, Any] | None = None,
    outline: bool = False,
) -> GenerativeModel:
    """A network of guided-diffusion (Dhariwal & Nichol 2021), by the file that was released or one of the same kind.

    Args:
        preset: whose settings it has.
        checkpoint: its weights, safetensors or the .pt as it was released; null: random ones, for a training.
        classifier: weights of the noisy classifier, whose gradient guides: sampler.guidance_scale - 1 is the gradient
            scale of guided-diffusion.
        schedule: of betas; null: the preset's.
        changed: settings of the network in place of the preset's, by guided-diffusion's names: {num_classes: 10}.
        classifier_changed: the same of the classifier.
        guide: weights of a second network, away from which `sampler.guidance_scale` s goes, (1 - s) f(guide) + s f: a
            smaller or less trained one (autoguidance), or one that knows no classes. It has no posterior.
        guide_preset: whose settings it has; null: `preset`.
        guide_changed: settings of it in place of its preset's; empty: `changed`.
        outline: on torch's meta device, for a plan.

    Raises:
        ConfigurationError: an unknown preset or setting, a file that is not there, a classifier beside a guide.
        CheckpointError: a file of another network, which is named.
    """
    if classifier is not None and guide is not None:
        raise ConfigurationError("model.classifier and model.guide both say what guides: give one of them, or neither.")
    path = schedule_of(schedule or ("cosine" if preset in COSINE else "linear"))
    judged = FAMILIES["adm_classifier"].settings(preset.removesuffix("_unconditional"), classifier_changed)
    classes = judged.out_channels if classifier is not None else 0

    second = partial(_model, process=path, classes=0, outline=outline, key="model.guide")
    model = _model(preset, checkpoint, changed, path, classes, outline)
    if classifier is not None:
        asked = preset.removesuffix("_unconditional")
        judge = network_of("adm_classifier", judged, asked, classifier, "model.classifier", outline)
        guide_by(model, judge.requires_grad_(False), path)
    return with_guide(model, second, guide_preset or preset, guide, guide_changed or changed)


def _model(
    preset: str,
    checkpoint: Path | None,
    changed: dict[str, Any] | None,
    process: ScheduledDiffusion,
    classes: int,
    outline: bool,
    key: str = "model.checkpoint",
) -> GenerativeModel:
    """One network with its process; `classes` where it knows none itself."""
    settings: ADMSettings = FAMILIES["adm"].settings(preset, changed)
    side = settings.image_size
    return GenerativeModel(
        network_of("adm", settings, preset, checkpoint, key, outline),
        (settings.in_channels, side, side),
        process=process,
        prediction="epsilon",
        num_classes=settings.num_classes or classes,
        head="out.2",
        guidance=None,
        learns_variance=settings.out_channels == 2 * settings.in_channels,
    )


def guide_by(model: GenerativeModel, classifier: nn.Module, process: ScheduledDiffusion) -> None:
    """Let a classifier (x_t, timesteps) -> logits guide the model, a part of which it becomes."""
    model.classifier = classifier  # so that it goes where the model goes

    def log_probability(x: Tensor, t_B: Tensor, y_B: Tensor) -> Tensor:
        logits = classifier(x, process.network_time(t_B)).log_softmax(dim=1)
        return logits.gather(1, y_B[:, None])[:, 0]

    model.guidance = by_classifier(log_probability, process)
