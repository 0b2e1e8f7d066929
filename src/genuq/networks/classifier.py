"""A small convolutional classifier: the judge of generated images, never the encoder that scores them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def _stage(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


class Classifier(nn.Module):
    """Convolutions, two poolings, global average, `features` pooled features, class logits.

    Args:
        shape: (C, H, W) of the images in [-1, 1].
        num_classes: number of classes.
        channels: features of the three stages.
        features: dimension of the feature space in which samples are judged.
    """

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int,
        channels: Sequence[int] = (32, 64, 96),
        features: int = 64,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        first, second, third = channels
        self.trunk = nn.Sequential(
            *_stage(shape[0], first),
            *_stage(first, first),
            nn.MaxPool2d(2),
            *_stage(first, second),
            *_stage(second, second),
            nn.MaxPool2d(2),
            *_stage(second, third),
            *_stage(third, third),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(third, features),
            nn.SiLU(),
        )
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Linear(features, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """Penultimate features (B, features) of images (B, C, H, W) in [-1, 1]."""
        return self.trunk(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.dropout(self.features(x)))
