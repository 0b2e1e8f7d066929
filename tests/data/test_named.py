"""The published sets: layouts on stand-ins of a few images, then the real ones."""

import gzip
import hashlib
import json
import shutil
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from genuq.data import cifar, cifar10, fashion_mnist, load, mnist, named
from genuq.errors import DataError, GenuqError

OFFICIAL_CIFAR_MD5 = {  # of cifar-10-binary.tar.gz, as published in several projects' download scripts
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENUQ_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


def stand_in(monkeypatch, attribute: str, contents: dict[str, bytes]) -> None:
    """Replace a set's published content, and leave it no route but the root and the cache."""
    digests = {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
    monkeypatch.setattr(named, attribute, replace(getattr(named, attribute), digests=digests, routes=()))


def tiny_idx() -> dict[str, bytes]:
    pixels, labels = bytes(range(3 * 28 * 28 % 256)) * 100, bytes([7, 0, 9])
    return {
        "t10k-images-idx3-ubyte": struct.pack(">BBBBIII", 0, 0, 8, 3, 3, 28, 28) + pixels[: 3 * 28 * 28],
        "t10k-labels-idx1-ubyte": struct.pack(">BBBBI", 0, 0, 8, 1, 3) + labels,
    }


@pytest.mark.parametrize("folder", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize("compressed", [False, True])
def test_idx_layouts_of_a_root(monkeypatch, tmp_path, folder, compressed):
    contents = tiny_idx()
    stand_in(monkeypatch, "MNIST", contents)
    (tmp_path / "root" / folder).mkdir(parents=True)
    for file, content in contents.items():
        path = tmp_path / "root" / folder / (f"{file}.gz" if compressed else file)
        path.write_bytes(gzip.compress(content) if compressed else content)
    dataset = mnist("test", root=tmp_path / "root")
    assert dataset.shape == (1, 28, 28) and dataset.labels.tolist() == [7, 0, 9]
    assert dataset.items.numpy().tobytes() == contents["t10k-images-idx3-ubyte"][16:]
    shutil.rmtree(tmp_path / "root")
    assert mnist("test").fingerprint == dataset.fingerprint, "the cache alone gives the same"


@pytest.fixture
def tiny_cifar(monkeypatch):
    """Four images a batch: label and pixels per batch, and the binary content written by hand."""
    monkeypatch.setattr(cifar, "BATCH", 4)
    images, labels, contents = {}, {}, {}
    for number, file in enumerate(OFFICIAL_CIFAR_MD5):
        images[file] = np.random.default_rng(number).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
        labels[file] = [number, 9, 0, number + 1]
        rows = [bytes([label]) + image.tobytes() for image, label in zip(images[file], labels[file])]
        contents[file] = b"".join(rows)
    stand_in(monkeypatch, "CIFAR10", contents)
    return images, labels, contents


def check_cifar(dataset, images, labels) -> None:
    training = [file for file in images if file != "test_batch.bin"]
    assert torch.equal(dataset.items, torch.from_numpy(np.concatenate([images[file] for file in training])))
    assert dataset.labels.tolist() == [label for file in training for label in labels[file]]


@pytest.mark.parametrize("folder", ["", "cifar-10-batches-bin"])
def test_cifar_from_the_official_batches(tiny_cifar, tmp_path, folder):
    images, labels, contents = tiny_cifar
    (tmp_path / "root" / folder).mkdir(parents=True)
    for file, content in contents.items():
        (tmp_path / "root" / folder / file).write_bytes(content)
    check_cifar(cifar10("train", root=tmp_path / "root"), images, labels)


def write_png_layout(root, images, labels) -> None:
    """One image per row of a PNG, 1024 RGB pixels each."""
    root.mkdir()
    for file, batch in images.items():
        rows = batch.reshape(4, 3, 1024).transpose(0, 2, 1)
        Image.fromarray(np.ascontiguousarray(rows)).save(root / file.replace(".bin", ".png"))
    training = [label for file in labels if file != "test_batch.bin" for label in labels[file]]
    (root / "train_lables.json").write_text(json.dumps(training))
    (root / "test_lables.json").write_text(json.dumps(labels["test_batch.bin"]))


def test_cifar_rebuilt_from_the_png_layout(tiny_cifar, tmp_path):
    images, labels, contents = tiny_cifar
    write_png_layout(tmp_path / "root", images, labels)
    check_cifar(cifar10("train", root=tmp_path / "root"), images, labels)
    assert cifar10("test", root=tmp_path / "root").labels.tolist() == labels["test_batch.bin"]
    assert cifar.read_batch(tmp_path / "root", "data_batch_3.bin") == contents["data_batch_3.bin"]


@pytest.mark.parametrize("victim", ["data_batch_2.png", "train_lables.json"])
def test_a_damaged_png_layout_is_named(tiny_cifar, tmp_path, victim):
    images, labels, _ = tiny_cifar
    write_png_layout(tmp_path / "root", images, labels)
    path = tmp_path / "root" / victim
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning), pytest.raises(DataError, match=r"data_batch_\d\.png or the labels .* are damaged"):
        cifar10("train", root=tmp_path / "root")


def test_without_any_route_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setattr(named, "FASHION_MNIST", replace(named.FASHION_MNIST, routes=()))
    with pytest.raises(DataError, match=r"fashion_mnist was found on no route:\n  1\. cache .*\nInstall the Debian"):
        fashion_mnist("train")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fashion_mnits", {}, "'fashion_mnits' does not exist. Did you mean 'fashion_mnist'"),
        ("gaussian_mixture", {"mode": 8}, "no option 'mode'. Did you mean 'modes'"),
        ("image_folder", {"root": "."}, "'image_folder' needs image_size"),
        ("mnist", {"split": "validation"}, "split 'validation' does not exist; it is one of train, test"),
    ],
)
def test_wrong_names_are_answered_with_the_near_match(name, options, message):
    with pytest.raises(GenuqError, match=message):
        load(name, **{"split": "train", **options})


@pytest.fixture(scope="module")
def fashion_cache(tmp_path_factory):
    """Fashion-MNIST from its Debian package, in a cache of its own."""
    cache = tmp_path_factory.mktemp("fashion")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENUQ_DATA", str(cache))
        patch.setattr(named, "FASHION_MNIST", replace(named.FASHION_MNIST, routes=named.FASHION_MNIST.routes[:2]))
        if shutil.which("apt-get") is None:
            pytest.skip("Fashion-MNIST comes from a Debian package here, and there is no apt-get")
        try:
            fashion_mnist("train")
        except DataError as error:
            if "apt-get" not in str(error):  # bad content is a failure, not a reason to skip
                raise
            pytest.skip(f"no Debian mirror can be reached: {error}")
    return cache


@pytest.mark.parametrize(("split", "per_class"), [("train", 6000), ("test", 1000)])
def test_fashion_mnist_is_what_torchvision_reads(fashion_cache, monkeypatch, tmp_path, split, per_class):
    monkeypatch.setenv("GENUQ_DATA", str(fashion_cache))
    dataset = fashion_mnist(split)
    assert dataset.shape == (1, 28, 28) and dataset.labels.bincount().tolist() == [per_class] * 10
    (tmp_path / "FashionMNIST").mkdir()
    (tmp_path / "FashionMNIST" / "raw").symlink_to(fashion_cache / "fashion_mnist")
    oracle = torchvision.datasets.FashionMNIST(str(tmp_path), train=split == "train")
    assert dataset.class_names == oracle.classes
    assert torch.equal(dataset.items[:, 0], oracle.data) and torch.equal(dataset.labels, oracle.targets)


@pytest.mark.slow
def test_mnist_from_npm():
    for split, count in (("train", 60_000), ("test", 10_000)):
        dataset = mnist(split)
        assert len(dataset) == count and dataset.shape == (1, 28, 28)
    assert dataset.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


@pytest.mark.slow
def test_cifar_from_npm_is_the_official_content(empty_cache):
    assert cifar10("train").labels.bincount().tolist() == [5000] * 10
    assert cifar10("test").labels.bincount().tolist() == [1000] * 10
    for file, digest in OFFICIAL_CIFAR_MD5.items():
        assert hashlib.md5((empty_cache / "cifar10" / file).read_bytes()).hexdigest() == digest
