"""The published sets: Fashion-MNIST, MNIST.

Hashes are of the decompressed files, so that they hold on every route however it compresses them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from genuq.data.base import ArrayDataset, check_split
from genuq.data.fetch import debian_package, torchvision_download
from genuq.data.idx import parse_idx, read_plain_or_gzip
from genuq.data.routes import Source, existing_folder, obtain

DEBIAN_FASHION = "usr/share/datasets/fashion-mnist"
FASHION_MNIST = Source(
    name="fashion_mnist",
    digests={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    read=partial(read_plain_or_gzip, subfolders=("", "raw", "FashionMNIST/raw")),
    routes=(
        existing_folder("installed Debian package", Path("/") / DEBIAN_FASHION),
        debian_package("dataset-fashion-mnist", DEBIAN_FASHION),
        torchvision_download("FashionMNIST"),
    ),
    remedy="Install the Debian package dataset-fashion-mnist, or download the four idx files from "
    "https://github.com/zalandoresearch/fashion-mnist and set data.root to their folder.",
)
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def fashion_mnist(split: str = "train", root: str | Path | None = None) -> ArrayDataset:
    """Fashion-MNIST: 60,000 training or 10,000 test images of clothes, (1, 28, 28), ten classes.

    Source: Xiao, Rasul and Vollgraf, 2017, arXiv:1708.07747.
    """
    return _idx_set(FASHION_MNIST, FASHION_CLASSES, split, root)


def _idx_set(source: Source, class_names: tuple[str, ...], split: str, root: str | Path | None) -> ArrayDataset:
    prefix = "train" if check_split(split) == "train" else "t10k"
    files = [f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"]
    contents = obtain(source, files, root)
    images, labels = (parse_idx(contents[file], file) for file in files)
    return ArrayDataset(images[:, None], labels, class_names, source.name, split)
