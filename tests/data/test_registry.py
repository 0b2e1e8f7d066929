"""Sets by name: near matches, options, and what is missing."""

from __future__ import annotations

import inspect

import pytest
import torch

from genuq.data import gaussian_mixture, load
from genuq.data.registry import DATASETS
from genuq.errors import ConfigurationError


def test_a_set_by_name_is_that_of_its_function():
    one, other = load("gaussian_mixture", modes=8, size=20), gaussian_mixture(8, 20)
    assert torch.equal(one.batch(range(20))[0], other.batch(range(20))[0]) and one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("fashion_mnst", {}, "'fashion_mnst' does not exist. Did you mean 'fashion_mnist'"),
        ("gaussian_mixture", {"mode": 8}, "has no option 'mode'. Did you mean 'modes'"),
        ("image_folder", {}, "data 'image_folder' needs "),
    ],
)
def test_what_cannot_be_loaded_is_said_with_the_nearest(name, options, said):
    with pytest.raises(ConfigurationError) as caught:
        load(name, **options)
    assert said in str(caught.value)


def test_every_set_takes_a_split():
    assert all("split" in inspect.signature(part.resolve()).parameters for part in DATASETS.values())
