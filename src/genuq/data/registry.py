"""The sets by the names that the configuration uses."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from genuq.data.base import Dataset
from genuq.data.folder import image_folder
from genuq.data.mixtures import gaussian_mixture
from genuq.data.named import cifar10, fashion_mnist, mnist
from genuq.errors import DataError, did_you_mean

DATASETS: dict[str, Callable[..., Dataset]] = {
    "fashion_mnist": fashion_mnist,
    "mnist": mnist,
    "cifar10": cifar10,
    "image_folder": image_folder,
    "gaussian_mixture": gaussian_mixture,
}


def load(name: str, split: str = "train", **options: Any) -> Dataset:
    """The set `name`; the options are those of the function of that name.

    Raises:
        DataError: no such set or option (the near match is named), an option is missing, or the set cannot be read.
    """
    if name not in DATASETS:
        raise DataError(f"data set '{name}' does not exist.{did_you_mean(name, DATASETS)}")
    parameters = inspect.signature(DATASETS[name]).parameters
    for option in options:
        if option not in parameters:
            raise DataError(f"data set '{name}' has no option '{option}'.{did_you_mean(option, parameters)}")
    required = {key for key, parameter in parameters.items() if parameter.default is parameter.empty}
    if missing := sorted(required - set(options)):
        raise DataError(f"data set '{name}' needs {', '.join(missing)}.")
    return DATASETS[name](split=split, **options)
