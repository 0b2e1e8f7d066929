"""Batches, selections and fingerprints of sets in memory."""

import pytest
import torch
from torch.utils.data import DataLoader

from genuq.data import ArrayDataset, as_dataset, check_first_item, subset
from genuq.errors import DataError


def make_images(count: int = 20, split: str = "train") -> ArrayDataset:
    pixels = torch.randint(0, 256, (count, 3, 4, 4), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    return ArrayDataset(pixels, torch.arange(count) % 5, [f"class {c}" for c in range(5)], "images", split)


def test_pixels_are_scaled_to_the_signed_unit_range():
    dataset = ArrayDataset(
        torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(3, 1, 1, 1), torch.zeros(3), ["x"], "x"
    )
    images, labels = dataset.batch([0, 1, 2])
    assert images.dtype == torch.float32 and labels.dtype == torch.int64
    assert torch.allclose(images.flatten(), torch.tensor([-1.0, -0.6, 1.0]), atol=1e-6)
    assert dataset.shape == (1, 1, 1) and dataset.num_classes == 1


def test_a_batch_leaves_the_stored_items_alone():
    points = torch.ones(3, 2)
    dataset = ArrayDataset(points, torch.zeros(3), ["x"], "points")
    dataset.batch([0, 1])[0].zero_()
    assert torch.equal(dataset.batch([0, 1, 2])[0], torch.ones(3, 2))


def test_batches_follow_the_order_of_the_indices_and_match_single_items():
    dataset = make_images()
    images, labels = dataset.batch(torch.tensor([7, 2, 7]))
    for row, index in enumerate([7, 2, 7]):
        image, label = dataset[index]
        assert torch.equal(images[row], image) and int(labels[row]) == label == index % 5


@pytest.mark.parametrize("chosen", [False, True])
def test_a_data_loader_gives_the_same_as_batch(chosen):
    dataset = subset(make_images(), 7, seed=3) if chosen else make_images()
    images, labels = (torch.cat(parts) for parts in zip(*DataLoader(dataset, batch_size=3)))
    expected_images, expected_labels = dataset.batch(range(len(dataset)))
    assert torch.equal(images, expected_images)
    assert torch.equal(labels, expected_labels) and torch.equal(labels, dataset.labels)


def test_iteration_ends_and_negative_indices_count_from_the_end():
    dataset = make_images(6)
    assert len(list(dataset)) == 6
    assert torch.equal(dataset[-1][0], dataset[5][0])
    with pytest.raises(IndexError, match="item 6 of images, which has 6"):
        dataset[6]


@pytest.mark.parametrize(("labels", "message"), [([0, 1], "3 items and 2 labels"), ([0, 1, 2], r"outside 0\.\.1")])
def test_labels_that_do_not_fit_are_refused(labels, message):
    with pytest.raises(DataError, match=message):
        ArrayDataset(torch.zeros(3, 2), torch.tensor(labels), ["a", "b"], "broken")


def test_subsets_are_the_same_for_a_seed_and_differ_between_seeds():
    dataset = make_images(100)
    first, again, other = subset(dataset, 10, seed=0), subset(dataset, 10, seed=0), subset(dataset, 10, seed=1)
    assert torch.equal(first.indices, again.indices) and not torch.equal(first.indices, other.indices)
    assert (first.indices.diff() > 0).all(), "ascending, hence without replacement"
    assert torch.equal(first.batch([4])[0], dataset.batch([int(first.indices[4])])[0])


def test_subsets_choose_every_item_equally_often():
    """Inclusion counts over seeds: chi-square with 19 degrees of freedom, scaled for drawing without replacement."""
    dataset, size, seeds = make_images(20), 5, 2000
    counts = torch.zeros(20)
    for seed in range(seeds):
        counts[subset(dataset, size, seed).indices] += 1
    expected, inclusion = seeds * size / 20, size / 20
    statistic = float(((counts - expected) ** 2).sum() / (seeds * inclusion * (1 - inclusion)) * 19 / 20)
    assert 6.8 < statistic < 36.2  # the central 99 % of chi-square(19)


@pytest.mark.parametrize("size", [0, 21])
def test_a_subset_larger_than_the_set_or_empty_is_refused(size):
    with pytest.raises(DataError, match=f"subset of {size} .* images, which has 20"):
        subset(make_images(), size, seed=0)


def test_the_fingerprint_changes_with_content_labels_split_and_selection_only():
    reference = make_images()
    changed_pixel, changed_label = make_images(), make_images()
    changed_pixel.items[3, 0, 0, 0] += 1
    changed_label.labels[3] = 0
    chosen = [subset(reference, 5, seed).fingerprint for seed in (0, 1)]
    others = [changed_pixel.fingerprint, changed_label.fingerprint, make_images(split="test").fingerprint, *chosen]
    assert len({reference.fingerprint, *others}) == 6
    assert make_images().fingerprint == reference.fingerprint
    assert subset(reference, 20, seed=0).fingerprint == reference.fingerprint, "all of the items are the set itself"
    nested = subset(subset(reference, 10, seed=0), 10, seed=1)
    assert nested.fingerprint == subset(reference, 10, seed=0).fingerprint


def test_a_tensor_becomes_a_data_set_with_the_labels_given() -> None:
    images = make_images(6).items
    found = as_dataset(images, labels=[0, 2, 1, 0, 2, 1])
    assert found.labels.tolist() == [0, 2, 1, 0, 2, 1] and found.num_classes == 3
    assert as_dataset(images, labels=[0] * 6, num_classes=4).num_classes == 4, "a class may be absent from the items"
    assert as_dataset(images).labels.tolist() == [0] * 6 and as_dataset(images, num_classes=1).num_classes == 1
    assert as_dataset(found) is found


def test_a_tensor_without_labels_is_refused_where_the_model_knows_classes() -> None:
    """Not taken as class 0 throughout: a tensor says nothing of classes."""
    with pytest.raises(DataError, match="knows 5 classes, and a tensor says nothing of them: give labels"):
        as_dataset(make_images(6).items, num_classes=5)
    with pytest.raises(DataError, match="labels are given beside images, which has its own"):
        as_dataset(make_images(6), labels=[0] * 6)


class TheirData(ArrayDataset):
    """Somebody's own, whose batches are what a test wants."""

    def __init__(self, **changes: torch.Tensor) -> None:
        super().__init__(make_images(4).items, torch.zeros(4), ["only"], "theirs")
        self.changes = changes

    def batch(self, indices):
        items, labels = super().batch(indices)
        return self.changes.get("items", items), self.changes.get("labels", labels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"items": torch.zeros(1, 3, 4, 4, dtype=torch.uint8)}, r"gives items of \(1, 3, 4, 4\) uint8 .*float32"),
        ({"items": torch.zeros(1, 4, 4, 3)}, r"gives items of \(1, 4, 4, 3\) float32 for one of shape \(3, 4, 4\)"),
        ({"items": torch.full((1, 3, 4, 4), 200.0)}, r"those of theirs lie in \[200, 200\]"),
        ({"labels": torch.tensor([3])}, "gives the label 3, but has 1 class names"),
    ],
)
def test_the_first_item_of_a_set_of_ones_own_is_looked_at(changes, message) -> None:
    check_first_item(TheirData())
    with pytest.raises(DataError, match=message):
        check_first_item(TheirData(**changes))


def test_a_label_beyond_the_classes_is_refused_wherever_it_stands() -> None:
    theirs = TheirData()
    theirs.labels = torch.tensor([0, 0, -2, 7])
    with pytest.raises(DataError, match="gives the label -2, but has 1 class names"):
        check_first_item(theirs)
