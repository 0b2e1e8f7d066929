"""The papers' networks at their full size: built without weights, their heads fitted, drawn from and propagated."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import genuq
from genuq.models import GenerativeModel
from genuq.networks.published import FAMILIES, outlined
from genuq.pretrained.edm2 import with_used_weights
from genuq.propagators import Trajectory
from genuq.solvers import build as build_solver
from support.released import images


class HeadAlone(nn.Module):
    """The last layer of a network at its full size, on features drawn from the state and the time."""

    def __init__(self, head: nn.Module, side: int, width: int) -> None:
        super().__init__()
        self.head, self.side, self.width = head, side, width

    def forward(self, x: Tensor, t_B: Tensor, y_B: Tensor | None = None) -> Tensor:
        source = torch.Generator().manual_seed(0)
        mixing = torch.randn(self.width, x.shape[1], generator=source)
        waves = torch.einsum("kc,bchw->bkhw", mixing, x) + t_B.reshape(-1, 1, 1, 1)
        if isinstance(self.head, nn.Conv2d):
            return self.head(waves.sin())[:, : x.shape[1]]
        patch = 2
        tokens = nn.functional.avg_pool2d(waves, patch).sin().flatten(2).mT
        values = self.head(tokens).reshape(len(x), self.side // patch, self.side // patch, patch, patch, -1)
        return values.permute(0, 5, 1, 3, 2, 4).reshape(x.shape)


SIZES = {"adm": ("imagenet_128", "out.2"), "uvit": ("imagenet_256_huge", "decoder_pred")}
SIZES |= {"edm2": ("imagenet_512_xxl", "unet.out_conv")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exact_laplace", "diagonal_laplace"])
@pytest.mark.parametrize("name", list(SIZES))
def test_a_head_of_full_size_is_fitted_drawn_from_and_propagated(name: str, kind: str) -> None:
    preset, path = SIZES[name]
    network = outlined(name, FAMILIES[name].settings(preset))
    assert next(network.parameters()).is_meta
    network = with_used_weights(network) if name == "edm2" else network  # type: ignore[arg-type]
    head = copy.deepcopy(network.get_submodule(path)).to_empty(device="cpu")
    for value in head.parameters():
        nn.init.normal_(value, std=0.02)
    channels, side = (3, 8) if name == "adm" else (4, 8)
    width = head.in_channels if isinstance(head, nn.Conv2d) else head.in_features  # type: ignore[union-attr]
    model = GenerativeModel(HeadAlone(head, side, int(width)), (channels, side, side), head="head")
    x = torch.cat([images(48)[0], images(48)[0][:, :1]], 1)[:, :channels]
    posterior = genuq.fit(model, x, kind, images=32, held_out=16, batch_size=16).posterior
    drawn = posterior.draw(0)
    assert [value.shape for value in drawn.values()] == [value.shape for value in head.parameters()]
    sampler = genuq.Sampler(build_solver("euler"), steps=2, seed=0, batch_size=2)
    variance = genuq.propagate(model, posterior, sampler, range(2), propagator=Trajectory()).variance
    assert variance.shape == (2, channels, side, side) and bool((variance > 0).all())


def test_the_largest_are_described_by_their_heads() -> None:
    """ADM-512, U-ViT-H and EDM2-XXL on the meta device: 559, 501 and 1523 million weights, none of them read."""
    shapes = {}
    for name, preset, head in (
        ("adm", "imagenet_512", "out.2"),
        ("uvit", "imagenet_512_huge", "decoder_pred"),
        ("edm2", "imagenet_512_xxl", "unet.out_conv"),
    ):
        network = outlined(name, FAMILIES[name].settings(preset))
        assert all(value.is_meta for value in network.parameters())
        shapes[name] = tuple(network.get_submodule(head).weight.shape)  # type: ignore[arg-type]
    assert shapes == {"adm": (6, 128, 3, 3), "uvit": (64, 1152), "edm2": (4, 448, 3, 3)}
