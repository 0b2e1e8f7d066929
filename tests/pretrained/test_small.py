"""Small folders with random weights: the same bytes at any time, and models that run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq import data, files
from genuq.errors import ConfigurationError
from genuq.models.autoencoder import DiffusersAutoencoder
from genuq.pretrained.loading import from_pretrained
from genuq.pretrained.small import COUNTS, SHAPES, SIDE, SMALL, small_folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.mark.parametrize("name", SMALL)
def test_it_is_made_once_and_the_same_anywhere(name: str, store: Path, tmp_path: Path) -> None:
    drawn = torch.random.get_rng_state()
    folder = small_folder(name, store)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert small_folder(name, store) == folder and not list(store.glob("small/.*"))
    assert files.sha256_of_folder(folder) == files.sha256_of_folder(small_folder(name, tmp_path))


def test_the_images_are_of_four_classes_in_two_splits(store: Path) -> None:
    for split, name in (("train", "train"), ("test", "val")):
        found = data.load("image_folder", split, root=str(small_folder("images", store)), image_size=SIDE)
        assert list(found.class_names) == sorted(SHAPES) and len(found) == len(SHAPES) * COUNTS[name]
        images, labels = found.batch(range(len(found)))
        assert len({image.numpy().tobytes() for image in images}) == len(found)
        assert labels.bincount().tolist() == [COUNTS[name]] * len(SHAPES)


def test_the_images_means_spread_about_grey_no_wider_than_those_of_random_networks_do(store: Path) -> None:
    found = data.load("image_folder", "test", root=str(small_folder("images", store)), image_size=SIDE)
    images, _ = found.batch(range(len(found)))
    means = torch.nn.functional.avg_pool2d((images.double() + 1) / 2, SIDE // 2).flatten(1)
    assert abs(means.mean() - 0.5) < 0.05 and 0.05 < means.std(0).mean() < 0.15


@pytest.mark.parametrize(
    ("name", "process"), [("stable_diffusion", "variance_preserving"), ("stable_diffusion_3", "flow_matching")]
)
def test_a_pipeline_makes_images_of_the_same_side_for_its_prompts(name: str, process: str, store: Path) -> None:
    model = from_pretrained(small_folder(name, store), prompts=["a disc", "a cross"])
    assert (tuple(model.shape), model.process.name) == ((3, SIDE, SIDE), process)
    assert [float(model.steps), model.num_classes] == [50.0 if name == "stable_diffusion" else 28.0, 2]


def test_the_autoencoder_makes_an_image_of_a_latent(store: Path) -> None:
    found = DiffusersAutoencoder.from_pretrained(str(small_folder("autoencoder", store)), "AutoencoderKL")
    assert tuple(found.latent_shape((3, SIDE, SIDE))) == (4, SIDE // 4, SIDE // 4)


def test_another_name_is_refused_with_the_nearest(store: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'small:image' is nothing small.*images"):
        small_folder("image", store)
