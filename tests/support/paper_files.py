"""Stand-ins of what the papers' studies read: files with the names and layouts of the real ones, without content."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from genuq.extractors.base import Extractor
from genuq.extractors.inception import CleanFidInception
from genuq.extractors.pretrained import Timm
from genuq.pretrained.small import small_folder

CLASSES = 1000
ARCHIVE = b"PK\x03\x04"  # how a file of torch.save begins
VAE = {
    "_class_name": "AutoencoderKL",
    "latent_channels": 4,
    "block_out_channels": [8, 8, 8, 8],
    "norm_num_groups": 2,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}


def imagenet(root: Path, train: int = 14) -> None:
    """The folders of 1,000 classes: so many training images each, and one for tests, all of them one image."""
    for split, count in (("train", train), ("val", 1)):
        for label in range(CLASSES):
            folder = root / split / f"n{label:08d}"
            folder.mkdir(parents=True)
            first = folder / "0.png"
            Image.new("RGB", (8, 8)).save(first)
            for number in range(1, count):
                os.link(first, folder / f"{number}.png")


def weights(folder: Path) -> None:
    """Of ADM-128, U-ViT-H/2 and its autoencoder: plans read no weight."""
    (folder / "sd_vae_ft_ema").mkdir(parents=True)
    (folder / "sd_vae_ft_ema" / "config.json").write_text(json.dumps(VAE))
    for name in ("128x128_diffusion.pt", "imagenet256_uvit_huge.pth", "imagenet512_uvit_huge.pth"):
        (folder / name).write_bytes(ARCHIVE)


def captioned(root: Path, images: int = 2200) -> None:
    """Photographs with a caption each, in two splits."""
    for split, count in (("train", images), ("test", 200)):
        folder = root / split
        folder.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / "0.png")
        for number in range(1, count):
            os.link(folder / "0.png", folder / f"{number}.png")
        lines = [json.dumps({"file_name": f"{number}.png", "text": f"number {number % 50}"}) for number in range(count)]
        (folder / "metadata.jsonl").write_text("\n".join(lines))


def stable_diffusion_3(folder: Path, scratch: Path) -> None:
    """Its configurations, small but for what decides the shape of images of 512 pixels."""
    of_512_pixels(folder, scratch, "stable_diffusion_3", "transformer", {"pos_embed_max_size": 64, "sample_size": 64})


def stable_diffusion(folder: Path, scratch: Path) -> None:
    """The same of version 1.5."""
    of_512_pixels(folder, scratch, "stable_diffusion", "unet", {"sample_size": 64})


def of_512_pixels(folder: Path, scratch: Path, name: str, network: str, changed: dict[str, Any]) -> None:
    """A small pipeline with some settings of its network changed, and an autoencoder of an eighth of the side."""
    small_folder(name, scratch).rename(folder)
    blocks = {key: VAE[key] for key in ("block_out_channels", "down_block_types", "up_block_types")}
    for part, settings in ((network, changed), ("vae", blocks)):
        config = folder / part / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | settings))


def clip(folder: Path, scratch: Path) -> None:
    """A CLIP, small."""
    small_folder("clip", scratch).rename(folder)


def encoders_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """CLIP, DINOv2 and Inception by their dimensions alone."""

    def timm(self: Timm, name: str, *_: Any, **__: Any) -> None:
        Extractor.__init__(self, f"{name}-standin", 512)

    def inception(self: CleanFidInception, checkpoint: Any = None) -> None:
        Extractor.__init__(self, "inception-standin", 2048)

    monkeypatch.setattr(Timm, "__init__", timm)
    monkeypatch.setattr(CleanFidInception, "__init__", inception)
