"""The heads that posteriors are measured on, each at the end of a trunk that has it, and data for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genuq.models import GenerativeModel
from genuq.networks import UNet
from genuq.posteriors.fitting.regression import RegressionBatch

OUTPUTS = 3


@dataclass(frozen=True)
class Case:
    """A 3x3 head with 3 outputs behind a U-Net.

    Attributes:
        name: how the command line calls it.
        channels: of the U-Net, from fine to coarse; the first are the head's inputs.
        size: height and width of the images and of the head's output.
        images: of a batch.
        blocks: residual blocks a level.
        whole_network: whether posteriors over all layers are measured too; at many channels they take minutes.
    """

    name: str
    channels: Sequence[int]
    size: int
    images: int
    blocks: int = 1
    whole_network: bool = False

    @property
    def inputs(self) -> int:
        """K, entries of an unfolded patch with the bias."""
        return 9 * self.channels[0] + 1

    @property
    def head(self) -> str:
        return f"3x3, {self.channels[0]} channels, {OUTPUTS}x{self.size}x{self.size}"

    def model(self) -> GenerativeModel:
        """The network with random weights, none of them zero, and a dropout that evaluation mode passes by."""
        torch.manual_seed(0)
        shape = (OUTPUTS, self.size, self.size)
        network = UNet(shape, self.channels, self.blocks, stem=1, dropout=0.1)
        for parameter in network.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter, nonlinearity="linear")
        return GenerativeModel(network, shape, head="head").eval()

    def batch(self) -> RegressionBatch:
        source = torch.Generator().manual_seed(0)
        x, target = (torch.randn(self.images, OUTPUTS, self.size, self.size, generator=source) for _ in range(2))
        rows = torch.arange(self.images)
        return RegressionBatch(x, torch.rand(self.images, generator=source), None, target, rows, 0 * rows)

    def features(self) -> Tensor:
        """What the head may see, (B, C, H, W): positive in the main, as behind a SiLU."""
        source = torch.Generator().manual_seed(1)
        return nn.functional.silu(torch.randn(self.images, self.channels[0], self.size, self.size, generator=source))


CASES = {
    case.name: case
    for case in (
        Case("48", (48, 96), 32, 16, whole_network=True),
        Case("96", (96, 192), 32, 16),
        Case("128", (128, 256), 32, 16),
        Case("192", (192, 384), 32, 16),
        Case("256", (256, 512), 32, 16),
        Case("adm128", (256, 256, 512, 768, 1024), 128, 2, blocks=2),  # ADM, 128x128 (Dhariwal & Nichol 2021)
    )
}
QUICK = {"32": Case("32", (32, 64), 32, 4, whole_network=True)}
