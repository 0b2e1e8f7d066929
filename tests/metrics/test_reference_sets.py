"""Reference sets of others: images and features are read as they are, everything else is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from genuq.data import as_dataset, subset
from genuq.errors import DataError
from genuq.metrics import frechet_distance
from genuq.metrics.frechet import frechet_to_reference, gaussian_of
from genuq.metrics.reference import read_statistics
from genuq.metrics.reference_sets import ReferenceFeatures, ReferenceImages, drawn_rows, open_reference

SOURCE = np.random.default_rng(0)
IMAGES = SOURCE.integers(0, 256, (23, 5, 4, 3), dtype=np.uint8)
FEATURES = SOURCE.normal(size=(23, 6))


def batch_of_adm(path: Path, images: np.ndarray = IMAGES, **more: Any) -> Path:
    """As guided-diffusion publishes them: images, statistics of two layers, labels."""
    np.savez(path, images, mu=FEATURES.mean(0), sigma=np.cov(FEATURES, rowvar=False), mu_s=np.zeros(3), **more)
    return path


def images_in(path: Path) -> ReferenceImages:
    found = open_reference(path)
    assert isinstance(found, ReferenceImages)
    return found


def features_in(path: Path) -> ReferenceFeatures:
    found = open_reference(path)
    assert isinstance(found, ReferenceFeatures)
    return found


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("wanted", "size"), [(23, 4), (9, 4), (9, 100), (1, 1)])
def test_images_of_a_reference_batch(tmp_path: Path, compressed: bool, wanted: int, size: int) -> None:
    (np.savez_compressed if compressed else np.savez)(tmp_path / "r.npz", IMAGES, np.arange(23))
    found = images_in(tmp_path / "r.npz")
    assert (found.count, found.shape) == (23, (3, 5, 4))
    rows = drawn_rows(23, wanted, seed=2)
    batches = list(found.batches(rows, size))
    assert [len(batch) for batch in batches] == [len(part) for part in rows.split(size)]
    np.testing.assert_array_equal(torch.cat(batches).permute(0, 2, 3, 1), IMAGES[rows.numpy()])


def test_rows_are_those_of_a_subset_of_data() -> None:
    dataset = as_dataset(torch.from_numpy(IMAGES).permute(0, 3, 1, 2))
    assert torch.equal(drawn_rows(23, 9, seed=5), subset(dataset, 9, seed=5).indices)
    assert torch.equal(drawn_rows(23, 500, seed=5), torch.arange(23))


def test_features_in_a_folder_are_one_set(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FEATURES[:10])
    save_file({"f": torch.from_numpy(FEATURES[10:]).float()}, tmp_path / "b.safetensors", {"extractor": "inception"})
    (tmp_path / "notes.txt").write_text("passed over")
    found = features_in(tmp_path)
    assert (found.count, found.dimension, found.extractor) == (23, 6, "inception")
    rows = drawn_rows(23, 15, seed=1)
    np.testing.assert_array_equal(found.read(rows), FEATURES[rows.numpy()].astype("f4"))
    found.require_space(6, "inception")
    with pytest.raises(DataError, match=r"features of 'inception' have dimension 6, but the judge 'clip' gives 6"):
        found.require_space(6, "clip")
    with pytest.raises(DataError, match=r"dimension 6, but the judge 'inception' gives 2048.*key metric\.extractor"):
        found.require_space(2048, "inception")


def test_images_features_and_statistics_give_one_fid(tmp_path: Path) -> None:
    """Of the same reference, in the three forms that others keep it in."""

    def features(images_NCHW: torch.Tensor) -> torch.Tensor:
        return images_NCHW.float().mean((2, 3)) / 255

    made = torch.from_numpy(SOURCE.normal(0.5, 0.2, (40, 3))).float()
    of_images = torch.cat([*map(features, images_in(batch_of_adm(tmp_path / "r.npz")).batches(range(23), 5))])
    (tmp_path / "saved").mkdir()
    np.save(tmp_path / "saved" / "features.npy", of_images.numpy())
    mean_D, covariance_DD = gaussian_of(of_images)
    np.savez(tmp_path / "s.npz", mu=mean_D, sigma=covariance_DD)
    expected = frechet_distance(features(torch.from_numpy(IMAGES).permute(0, 3, 1, 2)), made)
    assert frechet_distance(of_images, made) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(features_in(tmp_path / "saved").read(range(23)), made) == pytest.approx(expected, rel=1e-12)
    assert frechet_to_reference(read_statistics(tmp_path / "s.npz"), made) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (IMAGES.astype("f4"), "'arr_0' is float32, but images must be uint8"),
        (IMAGES[0], r"'arr_0' has shape \(5, 4, 3\), but must be \(N, H, W, 1 or 3\)"),
        (IMAGES.transpose(0, 3, 1, 2), r"'arr_0' has shape \(23, 3, 5, 4\)"),
        (IMAGES[:0], r"'arr_0' has shape \(0, 5, 4, 3\)"),
    ],
)
def test_what_are_no_images_is_named(tmp_path: Path, images: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=rf"metric\.reference = '.*r\.npz': {said}.*Give an \.npz"):
        open_reference(batch_of_adm(tmp_path / "r.npz", images))


def test_other_archives_and_resolutions_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images of \(3, 5, 4\) .*but the data are \(3, 64, 64\).*data\.image_size"):
        images_in(batch_of_adm(tmp_path / "r.npz")).require_shape((3, 64, 64))
    np.savez(tmp_path / "s.npz", mu=FEATURES[0], sigma=np.eye(6))
    with pytest.raises(DataError, match="it has no 'arr_0', but mu, sigma"):
        open_reference(tmp_path / "s.npz")
    (tmp_path / "text.npz").write_text("arr_0")
    with pytest.raises(DataError, match=r"text\.npz': it is no archive of arrays"):
        open_reference(tmp_path / "text.npz")
    with pytest.raises(DataError, match=r"metric\.reference = '.*none' does not exist"):
        open_reference(tmp_path / "none")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ([FEATURES.astype("f2")], r"0\.npy is float16, but features must be float32 or float64"),
        ([FEATURES[0]], r"0\.npy has shape \(6,\), but features must be \(N, D\)"),
        ([FEATURES, FEATURES[:, :4]], r"its files differ: dimensions \[4, 6\]"),
        ([np.array([{}], dtype=object)], r"0\.npy is no array of plain numbers"),
        ([], r"the folder has no features .*images belong in data\.root/test"),
    ],
)
def test_what_are_no_features_is_named(tmp_path: Path, arrays: list[np.ndarray], said: str) -> None:
    for number, array in enumerate(arrays):
        np.save(tmp_path / f"{number}.npy", array)
    with pytest.raises(DataError, match=said):
        open_reference(tmp_path)


def test_features_that_are_not_finite_are_named_when_they_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.where(np.arange(6) == 2, np.nan, FEATURES))
    with pytest.raises(DataError, match=r"a\.npy has NaN or infinite entries"):
        features_in(tmp_path).read(range(23))
