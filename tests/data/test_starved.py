"""Training sets that lack a class, against counts."""

from __future__ import annotations

import pytest
import torch

from genuq.data import ArrayDataset, starved, subset
from genuq.errors import ConfigurationError

NAMES = ["bag", "shirt", "coat", "boot"]


@pytest.fixture
def dataset() -> ArrayDataset:
    """400 images whose first pixel is their class."""
    labels = torch.arange(400) % 4
    return ArrayDataset(labels.to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2), labels, NAMES, "made", "train")


def test_a_share_of_a_class_stays_and_all_of_the_others(dataset):
    found = starved(dataset, {"shirt": 0.05}, seed=1)
    assert found.labels.bincount().tolist() == [100, 5, 100, 100]
    images, labels = found.batch(range(len(found)))
    assert torch.equal(((images[:, 0, 0, 0] + 1) * 255 / 2).round().long(), labels)
    assert starved(dataset, {"shirt": 1e-6}, seed=1).labels.bincount().tolist() == [100, 1, 100, 100]


def test_the_label_of_a_class_left_out_goes_to_others(dataset):
    found = starved(dataset, {"coat": 0}, seed=1)
    images, labels = found.batch(range(len(found)))
    classes = ((images[:, 0, 0, 0] + 1) * 255 / 2).round().long()
    assert len(found) == 300 and classes.bincount().tolist() == [100, 100, 0, 100]
    borrowed = labels == 2
    assert int(borrowed.sum()) == 75 and torch.equal(labels[~borrowed], classes[~borrowed])
    assert set(classes[borrowed].tolist()) == {0, 1, 3}
    assert torch.equal(found.labels, labels) and found[int(borrowed.nonzero()[0])][1] == 2


def test_without_permuting_nothing_has_that_label(dataset):
    found = starved(dataset, {"coat": 0}, seed=1, permute=False)
    assert found.labels.bincount(minlength=4).tolist() == [100, 100, 0, 100] and found.num_classes == 4


def test_the_fingerprint_covers_items_and_labels(dataset):
    found = {
        starved(dataset, {"coat": share}, seed, permute).fingerprint
        for share, seed, permute in ((0, 1, True), (0, 2, True), (0, 1, False), (0.1, 1, True), (0.1, 2, True))
    }
    assert len(found) == 5 and starved(dataset, {"coat": 0}, 1).fingerprint in found
    assert subset(starved(dataset, {"coat": 0}, 1), 20, 3).labels.shape == (20,)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"coats": 0.1}, r"data\.starve: made has no class 'coats'\. Did you mean 'coat'"),
        ({"coat": 1.5}, r"data\.starve, the share of 'coat' = 1\.5; it must lie in \[0, 1\]"),
        ({name: 0 for name in NAMES}, "leaves no item"),
    ],
)
def test_shares_that_cannot_be(dataset, shares, message):
    with pytest.raises(ConfigurationError, match=message):
        starved(dataset, shares, 0)
