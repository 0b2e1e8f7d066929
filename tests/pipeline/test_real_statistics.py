"""Statistics of real features are made for the first evaluation of a store, and read by all with the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from genuq import files
from genuq.display import Display
from genuq.pipeline import real_statistics as made_once
from genuq.pipeline.real_statistics import RealStatistics, real_statistics


class Counted:
    """What was made, in turn; the store lies in `root`."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.made = root, list[str]()
        for name in ("gaussian_of", "real_radii"):
            monkeypatch.setattr(made_once, name, self._counting(name, getattr(made_once, name)))

    def _counting(self, name: str, function):
        def counting(*given):
            self.made.append(name)
            return function(*given)

        return counting

    def ask(self, run: str, seed: int = 0, k: int = 3, gaussian: bool = True) -> RealStatistics:
        """As an evaluation of a run does, whose embeddings are in a file of its own."""
        real_RD = torch.randn(30, 4, generator=torch.Generator().manual_seed(seed))
        source = self.root / "embed" / run / "real.safetensors"
        files.write_tensors(source, {"real": real_RD})
        return real_statistics(source, real_RD, k, self.root / "evaluate" / run, Display(), gaussian)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(tmp_path, monkeypatch)


def test_they_are_those_of_the_features(store: Counted) -> None:
    found = store.ask("a")
    real = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)).double().numpy()
    np.testing.assert_allclose(found.gaussian.mean_D, real.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.gaussian.covariance_DD, np.cov(real.T), rtol=1e-10)
    np.testing.assert_allclose(found.radii_R, np.sort(cdist(real, real), axis=1)[:, 3] ** 2, rtol=1e-6)


def test_a_second_run_reads_them(store: Counted) -> None:
    first, second = store.ask("a"), store.ask("b")
    assert store.made == ["gaussian_of", "real_radii"]
    assert torch.equal(first.radii_R, second.radii_R)
    assert torch.equal(first.gaussian.covariance_DD, second.gaussian.covariance_DD)
    held = [store.root / "evaluate" / run / made_once.RADII for run in "ab"]
    assert held[0].samefile(held[1])


def test_another_k_has_radii_of_its_own_and_the_same_covariance(store: Counted) -> None:
    few, many = store.ask("a"), store.ask("b", k=5)
    assert store.made == ["gaussian_of", "real_radii", "real_radii"]
    assert bool((many.radii_R > few.radii_R).all())


def test_other_features_have_their_own(store: Counted) -> None:
    """Of another extractor, of other images, or of another choice of them."""
    one, other = store.ask("a"), store.ask("b", seed=1)
    assert store.made == ["gaussian_of", "real_radii"] * 2
    assert not torch.equal(one.gaussian.mean_D, other.gaussian.mean_D)


def test_no_covariance_is_made_where_that_of_others_stands_for_it(store: Counted) -> None:
    assert store.ask("a", gaussian=False).gaussian is None
    assert store.made == ["real_radii"] and not (store.root / "evaluate" / "a" / made_once.GAUSSIAN).exists()


def test_a_file_that_was_altered_is_made_again(store: Counted) -> None:
    whole = store.ask("a").radii_R.clone()  # files are mapped, not copied
    for path in (store.root / "references").glob("*.safetensors"):
        path.write_bytes(b"altered")
    assert torch.equal(store.ask("b").radii_R, whole) and len(store.made) == 4
