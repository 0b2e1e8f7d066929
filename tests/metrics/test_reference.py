"""Reference statistics of others: what fits is taken as it is, everything else is named before it counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genuq.errors import DataError
from genuq.metrics import read_statistics
from genuq.metrics.reference import require_dimension, require_extractor
from support.asking import RAN, Asking

FEATURES = np.random.default_rng(0).normal(size=(50, 4)) * [1, 2, 3, 0]  # one feature that never varies
MEAN, COVARIANCE = FEATURES.mean(0), np.cov(FEATURES, rowvar=False)


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **{"mu": MEAN, "sigma": COVARIANCE, **arrays})
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_mean_and_covariance_are_those_of_the_file(tmp_path: Path, compressed: bool) -> None:
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "r.npz", mu=MEAN, sigma=COVARIANCE, mu_s=np.zeros(3), arr=np.array(["more"]))
    found = read_statistics(tmp_path / "r.npz")
    assert torch.equal(found.mean_D, torch.from_numpy(MEAN))
    np.testing.assert_allclose(found.covariance_DD, COVARIANCE, rtol=1e-15)


def test_single_precision_is_enough(tmp_path: Path) -> None:
    path = saved(tmp_path / "r.npz", mu=MEAN.astype("f4"), sigma=COVARIANCE.astype("f4"))
    found = read_statistics(path)
    assert found.covariance_DD.dtype == torch.float64
    np.testing.assert_allclose(found.covariance_DD, COVARIANCE, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"mu": MEAN[:3]}, r"mu must be \(D,\) and sigma \(D, D\), not 'mu' \(3,\) and 'sigma' \(4, 4\)"),
        ({"mu": MEAN[None]}, r"not 'mu' \(1, 4\)"),
        ({"sigma": COVARIANCE.diagonal()}, r"'sigma' \(4,\)"),
        ({"mu": MEAN[:0], "sigma": COVARIANCE[:0, :0]}, r"not 'mu' \(0,\)"),
        ({"mu": MEAN.astype("f2")}, "'mu' is float16, but must be float32 or float64"),
        ({"sigma": COVARIANCE.astype("i8")}, "'sigma' is int64"),
        ({"sigma": COVARIANCE * [1, 1, np.nan, 1]}, "'sigma' has NaN or infinite entries"),
        ({"mu": MEAN * [1, 1, np.inf, 1]}, "'mu' has NaN or infinite entries"),
        ({"sigma": COVARIANCE + np.triu(np.ones((4, 4)), 1)}, "'sigma' is not symmetric.* by 1"),
        ({"sigma": COVARIANCE - np.eye(4)}, "'sigma' is no covariance: it has a negative eigenvalue, -1"),
    ],
)
def test_what_is_no_statistics_is_named(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=rf"metric\.statistics = '.*r\.npz': .*{said}.*Give an \.npz"):
        read_statistics(saved(tmp_path / "r.npz", **arrays))


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    whole = saved(tmp_path / "r.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:300])
    (tmp_path / "text.npz").write_text("mu, sigma")
    np.save(tmp_path / "one.npy", MEAN)
    for name in ("cut.npz", "text.npz", "one.npy"):
        with pytest.raises(DataError, match=rf"{name}': it is no archive of plain numbers"):
            read_statistics(tmp_path / name)
    np.savez(tmp_path / "less.npz", mu=MEAN, cov=COVARIANCE)
    with pytest.raises(DataError, match="it has no 'sigma', but mu, cov"):
        read_statistics(tmp_path / "less.npz")
    with pytest.raises(DataError, match=r"my\.key = '.*none\.npz' does not exist"):
        read_statistics(tmp_path / "none.npz", "my.key")


def test_an_archive_that_asks_for_a_call_is_refused_and_nothing_is_called(tmp_path: Path) -> None:
    asking = np.empty(1, dtype=object)
    asking[0] = Asking()
    with pytest.raises(DataError, match="no archive of plain numbers"):
        read_statistics(saved(tmp_path / "r.npz", mu=asking))
    assert not RAN


def test_another_dimension_than_the_judges_is_named(tmp_path: Path) -> None:
    reference = read_statistics(saved(tmp_path / "r.npz"))
    require_dimension(reference, 4, "inception")
    with pytest.raises(DataError, match=r"have dimension 4, but the judge 'inception' gives 2048 .*metric\.extractor"):
        require_dimension(reference, 2048, "inception")


def test_statistics_of_another_extractor_of_the_same_dimension_are_refused_where_they_say_so(tmp_path: Path) -> None:
    require_extractor(saved(tmp_path / "r.npz"), "inception")
    told = saved(tmp_path / "told.npz", extractor=np.array("inception"))
    require_extractor(told, "inception")
    with pytest.raises(DataError, match=r"told\.npz': the statistics are of 'inception', but the judge is 'dinov2'"):
        require_extractor(told, "dinov2")
