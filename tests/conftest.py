"""Runs that many tests look at, made once."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from genuq.parts.groups import GROUPS, register_of
from support.shared import made_once
from support.small_runs import EXACT, IMAGES, POINTS, launch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first: no process is to be left alone with one of them at the end."""
    items.sort(key=lambda item: item.path.parent.name != "journeys")


def pytest_collection_finish() -> None:
    """The libraries and the collected tests stay to the end: the garbage collector need not look at them again."""
    gc.collect()
    gc.freeze()


def registered() -> dict[str, set[str]]:
    """Names in every register that is imported already, by group."""
    found = {}
    for group, path in GROUPS.items():
        module, _, name = path.partition(":")
        if module in sys.modules:
            found[group] = set(getattr(sys.modules[module], name)._own)
    return found


@pytest.fixture(scope="module", autouse=True)
def parts_of_one_module_only() -> Iterator[None]:
    """What a test names by class path stays in its register; the tests of other modules shall not find it there."""
    before = registered()
    yield
    for group, names in registered().items():
        register = register_of(group)
        for name in names - before.get(group, set()):
            if not register.get(name).builtin:
                register.remove(name)


@pytest.fixture(scope="session")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 training and 48 test images, 16 x 16 grey, in two classes: bright top, bright bottom."""
    return made_once(tmp_path_factory, "images", draw_images)


def draw_images(root: Path) -> None:
    source = torch.Generator().manual_seed(0)
    for split, count in (("train", 32), ("test", 24)):
        for label, name in enumerate(("bottom", "top")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                image = 60 * torch.rand(16, 16, generator=source)
                image[8 * (1 - label) : 8 * (1 - label) + 8] += 150
                Image.fromarray(image.byte().numpy()).save(folder / f"{index:03d}.png")


@pytest.fixture(scope="session")
def points_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the mixture. Tests copy it before they change anything."""
    return made_once(tmp_path_factory, "points_run", lambda folder: launch(folder, *POINTS))


@pytest.fixture(scope="session")
def images_run(tmp_path_factory: pytest.TempPathFactory, image_root: Path) -> Path:
    """A finished run on the image folder. Tests copy it before they change anything."""
    root = f"data.root={image_root}"
    return made_once(tmp_path_factory, "images_run", lambda folder: launch(folder, *IMAGES, root))


@pytest.fixture(scope="session")
def exact_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the exact score of a mixture. Tests copy it before they change anything."""
    return made_once(tmp_path_factory, "exact_run", lambda folder: launch(folder, *EXACT))
