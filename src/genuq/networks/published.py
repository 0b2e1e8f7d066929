"""Networks whose weights were released, by name, and which of them a file of weights is of."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from genuq.errors import CheckpointError, ConfigurationError, did_you_mean, require_finite
from genuq.networks.adm import ADM, ADMClassifier, ADMSettings
from genuq.networks.edm2 import EDM2, EDM2Settings
from genuq.networks.uvit import UViT, UViTSettings
from genuq.parts.bounds import check_fields

Settings = ADMSettings | UViTSettings | EDM2Settings
Shapes = Mapping[str, tuple[int, ...]]

_MULTIPLES = {64: (1, 2, 3, 4), 128: (1, 1, 2, 3, 4), 256: (1, 1, 2, 2, 4, 4), 512: (0.5, 1, 1, 2, 2, 4, 4)}
_LEVELS = {64: (2, 4, 8), 128: (4, 8, 16), 256: (8, 16, 32), 512: (16, 32, 64)}  # sides of 32, 16 and 8


def _adm(side: int, num_classes: int = 1000, **options: Any) -> ADMSettings:
    given = {"model_channels": 256, "num_res_blocks": 2, "num_head_channels": 64, **options}
    given |= {"channel_mult": _MULTIPLES[side], "attention_resolutions": _LEVELS[side]}
    return ADMSettings(image_size=side, num_classes=num_classes, **given)


def _classifier(side: int, num_res_blocks: int = 2) -> ADMSettings:
    return _adm(side, 0, model_channels=128, num_res_blocks=num_res_blocks, out_channels=1000)


def _uvit(side: int, patch: int, size: str, num_classes: int = 0, **options: Any) -> UViTSettings:
    width, depth, heads = {"S": (512, 12, 8), "M": (768, 16, 12), "L": (1024, 20, 16), "H": (1152, 28, 16)}[size]
    given = {"embed_dim": width, "depth": depth, "num_heads": heads, "num_classes": num_classes, **options}
    return UViTSettings(img_size=side, patch_size=patch, **given)


def _edm2(channels: int, latent: bool, label_dim: int = 1000) -> EDM2Settings:
    images = 4 if latent else 3
    return EDM2Settings(img_resolution=64, img_channels=images, model_channels=channels, label_dim=label_dim)


_FILLING = ("kaiming_uniform_", "uniform_", "normal_", "zero_", "fill_", "ones_", "zeros_")  # functions of torch
_OPENAI = "The files are linked in the README of github.com/openai/guided-diffusion (128x128{}.pt, ...)."
_NULL = 1001  # ImageNet's classes and the null class
_WIDTHS = {"xs": 128, "s": 192, "m": 256, "l": 320, "xl": 384, "xxl": 448}


@dataclass(frozen=True)
class Family:
    """Networks of one architecture.

    Attributes:
        title: in messages.
        network: the class.
        presets: settings of the released files by name.
        released: where the files are from, as a sentence.
        mark: a key that networks of no other family have.
    """

    title: str
    network: Callable[[Any], nn.Module]
    presets: Mapping[str, Settings]
    released: str
    mark: str

    def settings(self, preset: str, changed: Mapping[str, Any] | None = None) -> Any:
        """The settings of a released network.

        Args:
            changed: in place of some of them, for weights of a training of one's own.

        Raises:
            ConfigurationError: no preset of this name, or no such setting.
        """
        if preset not in self.presets:
            raise ConfigurationError(
                f"model.preset = '{preset}' is no released network of {self.title}."
                + did_you_mean(preset, self.presets)
            )
        found: Any = self.presets[preset]
        given = dict(changed or {})
        known = [each.name for each in fields(found)]
        for key in given:
            if key not in known:
                raise ConfigurationError(
                    f"model.changed: '{key}' is no setting of {self.title}.{did_you_mean(key, known)}"
                )
        made = replace(found, **{key: tuple(each) if isinstance(each, list) else each for key, each in given.items()})
        check_fields(made, "model.changed")
        return made


FAMILIES = {
    "adm": Family(
        "ADM",
        ADM,
        {
            "imagenet_64": _adm(64, model_channels=192, num_res_blocks=3, use_new_attention_order=True, dropout=0.1),
            "imagenet_128": _adm(128, num_head_channels=-1),
            "imagenet_256": _adm(256),
            "imagenet_256_unconditional": _adm(256, 0),
            "imagenet_512": _adm(512),
        },
        _OPENAI.format("_diffusion"),
        "out.2.weight",
    ),
    "adm_classifier": Family(
        "the classifier of ADM",
        ADMClassifier,
        {"imagenet_64": _classifier(64, 4), **{f"imagenet_{side}": _classifier(side) for side in (128, 256, 512)}},
        _OPENAI.format("_classifier"),
        "out.2.c_proj.weight",
    ),
    "uvit": Family(
        "U-ViT",
        UViT,
        {
            "cifar10_small": _uvit(32, 2, "S"),
            "celeba_64_small": _uvit(64, 4, "S"),
            "imagenet_64_mid": _uvit(64, 4, "M", 1000),
            "imagenet_64_large": _uvit(64, 4, "L", 1000),
            "imagenet_256_large": _uvit(32, 2, "L", _NULL, in_chans=4),
            "imagenet_256_huge": _uvit(32, 2, "H", _NULL, in_chans=4, conv=False),
            "imagenet_512_large": _uvit(64, 4, "L", _NULL, in_chans=4),
            "imagenet_512_huge": _uvit(64, 4, "H", _NULL, in_chans=4, conv=False),
        },
        "The files are linked in the README of github.com/baofff/U-ViT.",
        "decoder_pred.weight",
    ),
    "edm2": Family(
        "EDM2",
        EDM2,
        {
            **{f"imagenet_64_{size}": _edm2(_WIDTHS[size], False) for size in ("s", "m", "l", "xl")},
            **{f"imagenet_512_{size}": _edm2(width, True) for size, width in _WIDTHS.items()},
            "imagenet_512_xs_unconditional": _edm2(_WIDTHS["xs"], True, 0),
        },
        "Its files lie in nvlabs-fi-cdn.nvidia.com/edm2/posthoc-reconstructions/ and are converted once "
        "(docs/released_networks.md).",
        "unet.out_conv.weight",
    ),
}


def outlined(family: str, settings: Any) -> nn.Module:
    """The network of these settings on torch's meta device, without weights."""
    with without_weights():
        return FAMILIES[family].network(settings)


@contextlib.contextmanager
def without_weights() -> Iterator[None]:
    """Layers that are made inside lie on torch's meta device."""
    with torch.device("meta"), _Unfilled():
        yield


class _Unfilled(TorchFunctionMode):
    """Nothing is drawn for weights that hold no numbers: on the meta device torch does it slowly, by its references."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function.__name__ in _FILLING:
            return args[0] if args else (kwargs or {})["tensor"]
        return function(*args, **(kwargs or {}))


def shapes_of(network: nn.Module) -> Shapes:
    """The shape of each of its weights by key."""
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def fill(network: nn.Module, tensors: Mapping[str, Tensor], asked: str, source: str) -> nn.Module:
    """The network with these weights in float32, all of them and no other.

    Args:
        network: outlined, or with weights, which are replaced.
        asked: what the file should be of, for messages: `ADM imagenet_64`.
        source: where the weights are from, for messages.

    Raises:
        CheckpointError: they are of another network: of which, where that is known, else what differs.
        NonFiniteError: NaN or infinite weights.
    """
    own, found = shapes_of(network), {key: tuple(value.shape) for key, value in tensors.items()}
    if own != found:
        raise CheckpointError(f"{source} {_what_it_is(own, found)}, but {asked} was asked for.")
    for key, value in tensors.items():
        require_finite(value, f"weight '{key}' of {source}", "The file is broken: download it again.")
    network.load_state_dict({key: value.float() for key, value in tensors.items()}, assign=True)
    return network.requires_grad_()


def _what_it_is(own: Shapes, found: Shapes) -> str:
    """Which released network weights of these shapes are of, in words."""
    family = next((name for name, each in FAMILIES.items() if each.mark in found), None)
    unknown = f"is no released network that genuq knows; {_differences(own, found)}"
    if family is None:
        return unknown
    known, title = presets_of(family), FAMILIES[family].title
    same = [preset for preset, shapes in known.items() if shapes == found]
    if same:
        return f"is {title} {' or '.join(same)}"
    near = max(known, key=lambda preset: _shared(known[preset], found))
    share = f"{_shared(known[near], found)} of its {len(found)} tensors"
    return unknown.replace("knows;", f"knows (nearest: {title} {near}, with {share});")


@functools.cache
def presets_of(family: str) -> Mapping[str, Shapes]:
    """The shapes of the weights of each released network of a family."""
    return {name: shapes_of(outlined(family, settings)) for name, settings in FAMILIES[family].presets.items()}


def _shared(one: Shapes, other: Shapes) -> int:
    return len(one.items() & other.items())


def _differences(own: Shapes, found: Shapes) -> str:
    """What does not fit, the first of each kind by name."""
    other = [key for key in own.keys() & found.keys() if own[key] != found[key]]
    kinds = {
        "missing": sorted(own.keys() - found.keys()),
        "unexpected": sorted(found.keys() - own.keys()),
        "of another shape": [f"{key} {found[key]} in place of {own[key]}" for key in sorted(other)],
    }
    said = [f"{len(keys)} {what} ({', '.join(keys[:3])})" for what, keys in kinds.items() if keys]
    return f"of the weights asked for are {'; '.join(said)}"
