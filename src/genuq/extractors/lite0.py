"""EfficientNet-Lite0's network and its published weights.

Source: Tan and Le, EfficientNet, ICML 2019, table 1 (the widths and depths of B0); the Lite variant of the TensorFlow
TPU repository has no squeeze-and-excitation and ReLU6 instead of swish. The weights come from TensorFlow, hence its
asymmetric 'same' padding and its batch-norm epsilon.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from genuq.errors import CheckpointError

EPSILON = 1e-3
FEATURES = 1280

# Repeats, kernel, stride of the first repeat, expansion of the channels inside the block, output channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)

# The checkpoint's names as patterns, and ours. Norms are numbered by position there: inside a block and outside of it.
NAMES = (
    (r"^_conv_stem", "stem.conv"),
    (r"^_bn0", "stem.norm"),
    (r"^_conv_head", "head.conv"),
    (r"^_bn1", "head.norm"),
    (r"^_fc", "classifier"),
    (r"^_blocks", "blocks"),
    (r"_expand_conv", "expand.conv"),
    (r"_bn0", "expand.norm"),
    (r"_depthwise_conv", "depthwise.conv"),
    (r"_bn1", "depthwise.norm"),
    (r"_project_conv", "project.conv"),
    (r"_bn2", "project.norm"),
)


class ConvNorm(nn.Module):
    """Convolution with TensorFlow's 'same' padding, batch norm, and ReLU6 where `activate`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, activate: bool = True
    ) -> None:
        super().__init__()
        padding = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, eps=EPSILON)
        self.activate = activate

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.conv.stride[0] > 1:
            x_BCHW = F.pad(x_BCHW, self._strided_padding(x_BCHW))
        x_BCHW = self.norm(self.conv(x_BCHW))
        return F.relu6(x_BCHW, inplace=True) if self.activate else x_BCHW

    def _strided_padding(self, x_BCHW: Tensor) -> list[int]:
        """Left, right, top, bottom such that the output has ceil(size / stride) positions, the odd pixel at the end."""
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        margins = []
        for size in (x_BCHW.shape[-1], x_BCHW.shape[-2]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            margins += [total // 2, total - total // 2]
        return margins


class InvertedResidual(nn.Module):
    """MBConv: widen, filter each channel, narrow; the input is added where the shape stays the same."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = ConvNorm(inputs, inner, 1) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(inner, inner, kernel, stride, groups=inner)
        self.project = ConvNorm(inner, outputs, 1, activate=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = self.project(self.depthwise(self.expand(x_BCHW)))
        return y_BCHW + x_BCHW if self.residual else y_BCHW


class Lite0(nn.Module):
    """Logits (B, 1000) of images (B, 3, H, W) scaled to [-127/128, 1]; `features` stops at the pooled (B, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, stride=2)
        blocks, width = [], 32
        for repeats, kernel, first_stride, expansion, outputs in STAGES:
            for repeat in range(repeats):
                blocks.append(InvertedResidual(width, outputs, kernel, first_stride if repeat == 0 else 1, expansion))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(width, FEATURES, 1)
        self.classifier = nn.Linear(FEATURES, 1000)

    def features(self, x_BCHW: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x_BCHW))).mean((2, 3))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.classifier(self.features(x_BCHW))


def load_published(state: Mapping[str, Tensor]) -> Lite0:
    """The network with the weights of the published checkpoint, in evaluation mode.

    Raises:
        CheckpointError: keys or shapes other than the network's, listed.
    """
    network = Lite0()
    try:
        network.load_state_dict({_our_name(key): value for key, value in state.items()}, strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"These are not the weights of EfficientNet-Lite0. {error}") from error
    return network.eval()


def _our_name(key: str) -> str:
    for pattern, name in NAMES:
        key = re.sub(pattern, name, key)
    return key


@torch.no_grad()
def fold_batch_norms(network: nn.Module) -> nn.Module:
    """The same function with every batch norm folded into its convolution (in place): fewer passes over memory."""
    for module in network.modules():
        if isinstance(module, ConvNorm) and isinstance(module.norm, nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()
    return network
