"""`model=edm2`: the magnitude-preserving networks of EDM2, whose layers store the weights that they use."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from genuq.models import DiffusersAutoencoder, GenerativeModel
from genuq.models.functional import PlainConv2d, PlainLinear
from genuq.networks.edm2 import EDM2, SIGMA_DATA, Block, EDM2Settings, NormalisedLayer
from genuq.networks.published import FAMILIES, without_weights
from genuq.parts.bounds import OneOf
from genuq.pretrained.released import autoencoder_of, image_shape, network_of, released, with_guide
from genuq.processes import Exploding

# Of Stable Diffusion's latents of ImageNet-512, which EDM2 brings to mean 0 and deviation SIGMA_DATA.
LATENT_MEAN, LATENT_DEVIATION = (5.81, 3.25, 0.12, -2.15), (4.17, 4.62, 3.71, 3.28)


class EDM2Autoencoder(DiffusersAutoencoder):
    """sd-vae-ft-mse as EDM2 uses it: images in [0, 1], and latents normalised by channel."""

    def __init__(self, autoencoder: nn.Module, channels: int = 3) -> None:
        super().__init__(autoencoder, channels)
        self.mean, self.deviation = torch.tensor(LATENT_MEAN), torch.tensor(LATENT_DEVIATION)
        self.scaling = SIGMA_DATA

    def encode(self, images: Tensor) -> Tensor:
        return super().encode((images + 1) / 2)

    def decode(self, latents: Tensor) -> Tensor:
        return 2 * super().decode(latents) - 1


def inner_of(network: Any, shown: Tensor, told_B: Tensor, y_B: Tensor | None) -> Tensor:
    """F within the preconditioning, which genuq does itself: of c_in x and ln(sigma) / 4."""
    labels = None if y_B is None else nn.functional.one_hot(y_B, network.label_dim).to(shown.dtype)
    return network.unet(shown, told_B, labels)


@torch.no_grad()
def with_used_weights(network: EDM2) -> EDM2:
    """The network, in place, with layers that store the weight which they else make in every pass, its gain in it."""
    gains = dict(_gains(network))
    for name, layer in list(network.named_modules()):
        if isinstance(layer, NormalisedLayer):
            above, _, last = name.rpartition(".")
            setattr(network.get_submodule(above), last, _plain(layer, gains.get(name, 1.0)))
    return network


def _gains(network: EDM2) -> Iterator[tuple[str, Tensor]]:
    """(name of a layer, the gain that it is run with)."""
    yield "unet.out_conv", network.unet.out_gain
    for name, block in network.named_modules():
        if isinstance(block, Block):
            yield f"{name}.emb_linear", block.emb_gain


def _plain(layer: NormalisedLayer, gain: Tensor | float) -> nn.Module:
    weight = layer.used(gain)
    outputs, inputs, *sides = weight.shape
    made: nn.Conv2d | nn.Linear
    with without_weights():
        if sides:
            made = PlainConv2d(inputs, outputs, (sides[0], sides[1]), padding=sides[0] // 2, bias=False)
        else:
            made = PlainLinear(inputs, outputs, bias=False)
    made.weight = nn.Parameter(weight)
    return made.train(layer.training)


def with_gains_of_one(network: EDM2) -> EDM2:
    """A network of random weights, in place, whose gains began at nought: its head would have no weight."""
    for name, value in network.named_parameters():
        if name.endswith("_gain"):
            nn.init.ones_(value)
    return network


@released("edm2", label="EDM2")
def edm2(
    preset: Annotated[str, OneOf(*FAMILIES["edm2"].presets)] = "imagenet_512_s",
    checkpoint: Path | None = None,
    autoencoder: Path | None = None,
    changed: dict[str, Any] | None = None,
    guide: Path | None = None,
    guide_preset: Annotated[str, OneOf(*FAMILIES["edm2"].presets)] | None = None,
    guide_changed: dict[str, Any] | None = None,
    outline: bool = False,
) -> GenerativeModel:
    """A network of EDM2 (Karras et al. 2024), by the safetensors that its user converted (docs/released_networks.md).

    Args:
        preset: whose settings it has.
        checkpoint: its weights; null: random ones.
        autoencoder: of the presets of latents (ImageNet 512): the folder to which sd-vae-ft-mse was saved.
        changed: settings of the network in place of the preset's, by EDM2's names: {num_blocks: 1}.
        guide: weights of a second network, away from which `sampler.guidance_scale` s goes, (1 - s) f(guide) + s f: a
            smaller or less trained one (autoguidance), or one that knows no classes. It has no posterior.
        guide_preset: whose settings it has; null: `preset`.
        guide_changed: settings of it in place of its preset's; empty: `changed`.
        outline: on torch's meta device, for a plan.

    Raises:
        ConfigurationError: an unknown preset or setting, a file or a folder that is missing.
        CheckpointError: a file of another network, which is named; a pickle.
    """
    latent = preset.startswith("imagenet_512")
    around = autoencoder_of(autoencoder, latent, preset, outline, EDM2Autoencoder)
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
    settings: EDM2Settings = FAMILIES["edm2"].settings(preset, changed)
    network: Any = network_of("edm2", settings, preset, checkpoint, key, outline)
    network = network if checkpoint is not None or outline else with_gains_of_one(network)
    side = settings.img_resolution
    return GenerativeModel(
        with_used_weights(network),
        image_shape(around, (settings.img_channels, side, side)),
        process=Exploding(sigma_data=SIGMA_DATA),
        prediction="edm",
        num_classes=settings.label_dim,
        autoencoder=around,
        call=inner_of,
        head="unet.out_conv",
        guidance=None,
    )
