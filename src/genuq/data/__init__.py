"""Data: named sets found or fetched and verified, image folders, 2-D mixtures, seeded subsets."""

from genuq.data.base import ArrayDataset, Dataset, Subset, subset
from genuq.data.named import fashion_mnist

__all__ = ["ArrayDataset", "Dataset", "Subset", "fashion_mnist", "subset"]
