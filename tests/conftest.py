"""Runs that many tests look at, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from support.small_runs import EXACT, IMAGES, POINTS, launch


@pytest.fixture(scope="session")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 training and 48 test images, 16 x 16 grey, in two classes: bright top, bright bottom."""
    root, source = tmp_path_factory.mktemp("images"), torch.Generator().manual_seed(0)
    for split, count in (("train", 32), ("test", 24)):
        for label, name in enumerate(("bottom", "top")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                image = 60 * torch.rand(16, 16, generator=source)
                image[8 * (1 - label) : 8 * (1 - label) + 8] += 150
                Image.fromarray(image.byte().numpy()).save(folder / f"{index:03d}.png")
    return root


@pytest.fixture(scope="session")
def points_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the mixture. Tests copy it before they change anything."""
    folder = tmp_path_factory.mktemp("runs") / "points"
    launch(folder, *POINTS)
    return folder


@pytest.fixture(scope="session")
def images_run(tmp_path_factory: pytest.TempPathFactory, image_root: Path) -> Path:
    """A finished run on the image folder. Tests copy it before they change anything."""
    folder = tmp_path_factory.mktemp("runs") / "images"
    launch(folder, *IMAGES, f"data.root={image_root}")
    return folder


@pytest.fixture(scope="session")
def exact_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the exact score of a mixture. Tests copy it before they change anything."""
    folder = tmp_path_factory.mktemp("runs") / "exact"
    launch(folder, *EXACT)
    return folder
