"""Inception-v3 as clean-fid uses it: the features of published FIDs."""

from __future__ import annotations

import os
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
SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"  # of the file at URL, 95,607,719 bytes
CONNECT_SECONDS = 10


@EXTRACTORS.add(name="inception", label="Inception-v3, clean-fid")
class CleanFidInception(Extractor):
    """2048-d pooled features of the Inception-v3 of the original FID, after clean-fid's resizing.

    Args:
        checkpoint: the TorchScript file `inception-2015-12-05.pt`; None takes torch's hub folder, filled by a
            download on first use. TorchScript is a program: none but the published one, by its sha256, is opened.
    Raises:
        WeightsUnavailableError: no file and no connection.
        CheckpointError: no such file, or another one than was published.
    Source: Parmar, Zhang, Zhu, CVPR 2022; network of Heusel et al., 2017, as exported by NVIDIA.
    """

    def __init__(self, checkpoint: str | Path | None = None) -> None:
        super().__init__("inception-v3-clean-fid", 2048)
        path = Path(checkpoint) if checkpoint else _downloaded()
        _require_published(path)
        self.layers = torch.jit.load(str(path), map_location="cpu").layers
        self.eval()

    def embed(self, images_BCHW: Tensor) -> Tensor:
        pixels = to_rgb(clean_resize(images_BCHW)) * 255
        return self.layers((pixels - 128) / 128).flatten(1)


def _require_published(path: Path) -> None:
    if not os.path.isfile(path):
        raise CheckpointError(f"The checkpoint {path} of the extractor 'inception' does not exist. Correct the path.")
    if files.sha256(path) != SHA256:
        raise CheckpointError(
            f"{path} is not the published Inception network of clean-fid (its sha256 begins with "
            f"{files.sha256(path)[:8]}, not {SHA256[:8]}), and a program from elsewhere is not run. Download {URL}."
        )


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
