"""Inception-v3 as clean-fid uses it: the features of published FIDs."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import torch
from torch import Tensor

from genuq import files
from genuq.errors import CheckpointError
from genuq.extractors.base import Extractor, WeightsUnavailableError
from genuq.extractors.images import clean_resize, to_rgb
from genuq.extractors.register import EXTRACTORS

FILE = "inception-2015-12-05.pt"
URL = f"https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/{FILE}"
CONNECT_SECONDS = 10


@EXTRACTORS.add(name="inception", label="Inception-v3, clean-fid")
class CleanFidInception(Extractor):
    """2048-d pooled features of the Inception-v3 of the original FID, after clean-fid's resizing.

    Args:
        checkpoint: the TorchScript file `inception-2015-12-05.pt`; None takes torch's hub folder, filled by a
            download on first use. TorchScript is a program: take it only from a source that you trust.
    Raises:
        WeightsUnavailableError: no file and no connection.
        CheckpointError: the file is not this network.
    Source: Parmar, Zhang, Zhu, CVPR 2022; network of Heusel et al., 2017, as exported by NVIDIA.
    """

    def __init__(self, checkpoint: str | Path | None = None) -> None:
        super().__init__("inception-v3-clean-fid", 2048)
        path = Path(checkpoint) if checkpoint else _downloaded()
        try:
            self.layers = torch.jit.load(str(path), map_location="cpu").layers
        except (RuntimeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{path} is not the TorchScript Inception network of clean-fid ({error}).") from error
        self.eval()

    def embed(self, images_BCHW: Tensor) -> Tensor:
        pixels = to_rgb(clean_resize(images_BCHW)) * 255
        return self.layers((pixels - 128) / 128).flatten(1)


def _downloaded() -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / FILE
    if path.is_file():
        return path
    try:
        with urllib.request.urlopen(URL, timeout=CONNECT_SECONDS) as response:
            files.write_bytes(path, response.read())
    except OSError as error:
        raise WeightsUnavailableError(
            f"The Inception network of FID is not on this machine and cannot be downloaded ({error}). "
            f"Download {URL} elsewhere, then set `checkpoint` to the file or copy it to {path}. "
            "The extractor 'efficientnet' needs no download, but its FIDs compare only with one another."
        ) from error
    return path
