"""Data: named sets found or fetched and verified, image folders, 2-D mixtures, seeded subsets."""

from genuq.data.base import ArrayDataset, Dataset, Subset, as_dataset, check_first_item, subset
from genuq.data.folder import ImageFolder, image_folder
from genuq.data.mixtures import GaussianMixture, gaussian_mixture, off_mode
from genuq.data.named import cifar10, fashion_mnist, mnist
from genuq.data.registry import DATASETS, DataPart, load

__all__ = [
    "DATASETS",
    "ArrayDataset",
    "DataPart",
    "Dataset",
    "GaussianMixture",
    "ImageFolder",
    "Subset",
    "as_dataset",
    "check_first_item",
    "cifar10",
    "fashion_mnist",
    "gaussian_mixture",
    "image_folder",
    "load",
    "mnist",
    "off_mode",
    "subset",
]
