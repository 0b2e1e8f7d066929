"""Data: named sets found or fetched and verified, image folders, sets drawn by rules with their oracles, subsets."""

from genuq.data.base import ArrayDataset, Dataset, Subset, as_dataset, check_first_item, subset
from genuq.data.folder import ImageFolder
from genuq.data.folders import image_folder
from genuq.data.glyphs import glyphs
from genuq.data.lattice import lattice_mixture
from genuq.data.mixtures import GaussianMixture, gaussian_mixture, off_mode
from genuq.data.named import cifar10, fashion_mnist, mnist
from genuq.data.registry import DATASETS, DataPart, load
from genuq.data.shapes import shapes
from genuq.data.starved import starved
from genuq.data.triangles import triangles
from genuq.data.truth import Oracle, Truth

__all__ = [
    "DATASETS",
    "ArrayDataset",
    "DataPart",
    "Dataset",
    "GaussianMixture",
    "ImageFolder",
    "Oracle",
    "Subset",
    "Truth",
    "as_dataset",
    "check_first_item",
    "cifar10",
    "fashion_mnist",
    "gaussian_mixture",
    "glyphs",
    "image_folder",
    "lattice_mixture",
    "load",
    "mnist",
    "off_mode",
    "shapes",
    "starved",
    "subset",
    "triangles",
]
