"""A network without a pipeline, with the scheduler that samples from it: F as schedulers take it, or EDM's D."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.models import (
    Autoencoder,
    Conditions,
    DiffusersAutoencoder,
    Guidance,
    evaluating,
    is_plain,
    may_make_its_weight,
    traced_head,
    with_plain_layers,
)
from genuq.models.generative import Call
from genuq.pretrained.adapted import PretrainedModel, find_traced_head
from genuq.pretrained.distilled import doubt_of
from genuq.pretrained.family import Asked, Family
from genuq.processes import Exploding, Process, process_of
from genuq.processes.exploding import sigma_of

TRIED = (0.3, 0.7)  # times of the passes that look for the head


class Bare(Family):
    """A network that is called as network(x, timestep) or network(x, timestep, class), or by a `call`."""

    prompted, guidance = False, None

    def __init__(self, asked: Asked, call: Call | None = None) -> None:
        self.asked, self.given = asked, call or called_plainly

    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        return self.given(network, x, time_B, rows)


class Denoiser(Bare):
    """EDM's D(x, sigma) = c_skip x + c_out F(c_in x) as the F within: what stands behind its head is divided out.

    Source: Karras et al. 2022, equation 7 and table 1.
    """

    def __init__(self, asked: Asked, process: Exploding, call: Call | None = None) -> None:
        super().__init__(asked, call)
        self.process = process

    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        sigma_B, data = sigma_of(time_B), self.process.sigma_data
        sigma = sigma_B.reshape(-1, *[1] * (x.ndim - 1))
        norm = (sigma.square() + data**2).sqrt()  # 1 / c_in
        raw = (x.double() * norm).to(x.dtype)
        width = int(getattr(network, "label_dim", None) or 0)  # of the published code
        if rows is not None and width:  # no class at all is the null class
            rows = nn.functional.one_hot(rows, width + 1)[:, :width].to(x.dtype)
        denoised = self.given(network, raw, sigma_B.float(), rows)
        # float64: positions behind the head are found by numbers that must come through unrounded
        return (denoised.double() - (data / norm).square() * raw.double()) * (norm / (sigma * data))


def called_plainly(network: nn.Module, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
    """network(x, time), or network(x, time, classes); of diffusers' answers the sample."""
    answer = network(x, time_B) if rows is None else network(x, time_B, rows)
    found = getattr(answer, "sample", answer)
    if not isinstance(found, Tensor):
        raise ConfigurationError(
            f"{type(network).__name__} gives a {type(found).__name__}, not a tensor: give a `call` that takes what is "
            "the prediction."
        )
    return found


def from_network(
    network: nn.Module,
    scheduler: Any,
    shape: Sequence[int] | None = None,
    num_classes: int | None = None,
    autoencoder: Any = None,
    denoises: bool = False,
    call: Call | None = None,
    conditions: Conditions | None = None,
    guidance: Guidance | None = None,
    steps: int = 50,
    head: str | None = None,
) -> PretrainedModel:
    """A bare network and the scheduler of its samples as a model; see `from_pipeline`.

    Args:
        network: called as network(x, timestep), network(x, timestep, class), or by `call`. One whose last layer makes
            its weight in every pass, as those of EDM2 do, is copied with plain layers in their place, which other
            weights are shared with; see `genuq.models.with_plain_layers`.
        scheduler: of diffusers, or one like it; its `prediction_type` says what the network predicts.
        shape: (C, H, W) of the images; None: what a network of diffusers says of its states, without an autoencoder.
        num_classes: that the network knows, 0: none; None: what a network of diffusers says.
        autoencoder: of diffusers, or an `Autoencoder`; None: the network denoises images.
        denoises: whether the network is EDM's D(x, sigma), or D(x, sigma, class), with its preconditioning inside;
            then the scheduler is one of EDM (EDMEulerScheduler).
        call: (network, x, timestep (B,), classes or rows) -> prediction, for another signature.
        conditions: rows that `call` gets in place of classes.
        guidance: where class `num_classes` is a null class, or the conditions have null rows: `CLASSIFIER_FREE`.
        steps: default of the sampler.
        head: dotted name of the last weighted layer; None: found by tracing.

    Raises:
        ConfigurationError: no shape, a last layer that cannot hold a posterior, a D whose scheduler is not of EDM, or
            another problem that is named.
    """
    process = process_of(scheduler)
    if denoises and not isinstance(process, Exploding):
        raise ConfigurationError(
            f"denoises = True, but {type(scheduler).__name__} is no scheduler of EDM: give EDMEulerScheduler with the "
            "network's sigma_min, sigma_max and sigma_data."
        )
    around = autoencoder if isinstance(autoencoder, Autoencoder | None) else DiffusersAutoencoder(autoencoder)
    sides = _shape(network, around) if shape is None else tuple(shape)
    with torch.no_grad():
        latent = sides if around is None else tuple(around.latent_shape(sides))
    asked = Asked(sides, latent)
    family = Denoiser(asked, process, call) if denoises and isinstance(process, Exploding) else Bare(asked, call)
    classes = _classes(network) if num_classes is None else num_classes
    network = _with_plain_head(network, [_Tried(family, process, conditions, classes, t) for t in TRIED], head)
    model = PretrainedModel(
        family,
        network,
        scheduler,
        steps,
        1.0,
        num_classes=classes,
        autoencoder=around,
        head=head,
        conditions=conditions,
        guidance=guidance,
    )
    model.doubt = doubt_of(type(network).__name__, network, scheduler)
    if head is None:
        find_traced_head(model)
    return model


@dataclass(frozen=True)
class _Tried:
    """A forward pass of a family's network at a random state of time t, of a class of its own."""

    family: Bare
    process: Process
    conditions: Conditions | None
    classes: int
    t: float

    def __call__(self, network: nn.Module) -> Tensor:
        device = next(network.parameters()).device
        source = torch.Generator().manual_seed(round(1000 * self.t))
        x = torch.randn(1, *self.family.asked.latent_shape, generator=source).to(device)
        told_B = self.process.network_time(torch.full((1,), self.t, device=device))
        y: Any = torch.tensor([round(self.t * (self.classes - 1))], device=device) if self.classes else None
        y = y if self.conditions is None else self.conditions.at(torch.zeros(1, dtype=torch.long, device=device))
        return self.family(
            network,
            x,
            told_B,
            y if self.conditions is None else self.conditions.at(torch.zeros(1, dtype=torch.long, device=device)),
        )


def _with_plain_head(network: nn.Module, passes: Sequence[_Tried], head: str | None) -> nn.Module:
    """The network; a copy with plain layers where the head makes its weight anew in every pass."""
    if not any(may_make_its_weight(layer) for layer in network.modules()):
        return network
    with torch.no_grad(), evaluating(network):
        name = traced_head(network, lambda: passes[0](network)) if head is None else head
        if is_plain(network.get_submodule(name)):
            return network
        return with_plain_layers(network, passes, needed=name)


def _classes(network: nn.Module) -> int:
    config = getattr(network, "config", None)
    names = ("num_class_embeds", "num_embeds_ada_norm")
    return next((int(found) for name in names if isinstance(found := getattr(config, name, None), int)), 0)


def _shape(network: nn.Module, autoencoder: Autoencoder | None) -> tuple[int, ...]:
    config = getattr(network, "config", None)
    side, channels = getattr(config, "sample_size", None), getattr(config, "in_channels", None)
    if autoencoder is not None or not isinstance(side, int | list | tuple) or not isinstance(channels, int):
        raise ConfigurationError(f"{type(network).__name__} does not say what images it makes: give shape=(C, H, W).")
    return (channels, *((side, side) if isinstance(side, int) else side))
