"""The fast metrics of subsets equal genuq.metrics on the subset, which equals prdc and scipy (tests/metrics)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genuq.analysis import SubsetJudge
from genuq.analysis import subsets as subsets_module
from genuq.errors import ConfigurationError, DataError
from genuq.metrics import Gaussian, frechet_distance, neighbourhood, precision_recall

REAL = np.random.default_rng(0).normal(size=(300, 6))
FAKE = np.random.default_rng(1).normal(size=(160, 6)) * 1.3
LATTICE = np.random.default_rng(2).integers(0, 4, size=(460, 3)).astype(float)  # ties and duplicates


def direct(real, fake, k):
    found = precision_recall(real, fake, k)
    return [frechet_distance(real, fake), found.precision, found.recall, found.density, found.coverage]


def subsets(count: int) -> list[np.ndarray]:
    source = np.random.default_rng(3)
    return [np.sort(source.permutation(count)[:size]) for size in (count, count // 2, count // 4, 12)]


@pytest.mark.filterwarnings("ignore::genuq.metrics.SmallSampleWarning")
@pytest.mark.parametrize("share", [1.0, 0.05])  # remembers few neighbours (most are measured anew) or all of them
@pytest.mark.parametrize(("real", "fake"), [(REAL, FAKE), (LATTICE[:300], LATTICE[300:])], ids=["normal", "ties"])
def test_equals_the_metrics_of_the_subset(real, fake, share):
    judge = SubsetJudge(fake, real, k=4, smallest_share=share)
    for members in subsets(len(fake)):
        np.testing.assert_allclose(judge(members), direct(real, fake[members], 4), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("real", "fake"), [(REAL, FAKE), (LATTICE[:300], LATTICE[300:])], ids=["normal", "ties"])
@pytest.mark.parametrize("fellows", [0, 20, 159])  # none known, too few of them, more than are asked for
def test_what_is_known_of_neighbours_changes_no_value(real, fake, fellows):
    metrics = ("precision", "recall", "density", "coverage")
    known = neighbourhood(real, fake, 4, fellows=fellows)
    found, alone = (SubsetJudge(fake, real, 4, 0.3, metrics, neighbourhood=one) for one in (known, None))
    for members in subsets(len(fake)):
        np.testing.assert_array_equal(found(members), alone(members))


def test_equals_them_where_a_filter_has_removed_all_neighbours():
    """Keeps the outermost samples only: none of their nearest neighbours are left."""
    members = np.sort(np.argsort(-np.linalg.norm(FAKE, axis=1))[:40])
    judge = SubsetJudge(FAKE, REAL, k=4, smallest_share=1.0)
    np.testing.assert_allclose(judge(members), direct(REAL, FAKE[members], 4), rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore::genuq.metrics.SmallSampleWarning")
def test_more_dimensions_than_samples():
    source = np.random.default_rng(4)
    real, fake = source.normal(size=(120, 40)), source.normal(size=(60, 40)) + 0.2
    members = np.arange(0, 60, 2)
    judge = SubsetJudge(fake, real, k=3)
    np.testing.assert_allclose(judge(members), direct(real, fake[members], 3), rtol=1e-7, atol=1e-9)


@pytest.mark.filterwarnings("ignore::genuq.metrics.SmallSampleWarning")
@pytest.mark.parametrize("memory_bytes", [1, 2**13])
def test_working_memory_changes_no_value(monkeypatch, memory_bytes):
    """Rows, bands and what is measured anew in parts of a few rows: the slow twin takes them whole."""
    whole = SubsetJudge(FAKE, REAL, k=4, smallest_share=1.0)
    monkeypatch.setattr(subsets_module, "MEMORY_BYTES", memory_bytes)
    parts = SubsetJudge(FAKE, REAL, k=4, smallest_share=1.0)
    outermost = np.sort(np.argsort(-np.linalg.norm(FAKE, axis=1))[:40])
    for members in (*subsets(len(FAKE)), outermost):
        np.testing.assert_allclose(parts(members), whole(members), rtol=1e-9)


def test_computes_what_is_asked_for_in_that_order():
    whole = SubsetJudge(FAKE, REAL, k=3)
    some = SubsetJudge(FAKE, REAL, k=3, metrics=("coverage", "fid"))
    members = np.arange(100)
    np.testing.assert_array_equal(some(members), whole(members)[[4, 0]])


def test_the_fid_may_compare_with_statistics_of_others():
    """Oracle: the features that the statistics were taken of."""
    others = np.random.default_rng(5).normal(size=(400, 6)) + 0.3
    members = np.arange(0, 160, 2)
    reference = Gaussian(torch.tensor(others.mean(0)), torch.tensor(np.cov(others.T)))
    found = SubsetJudge(FAKE, REAL, k=3, reference=reference)(members)
    assert found[0] == pytest.approx(frechet_distance(others, FAKE[members]), rel=1e-9)
    np.testing.assert_array_equal(found[1:], SubsetJudge(FAKE, REAL, k=3)(members)[1:])


def test_bad_requests():
    with pytest.raises(ConfigurationError, match="Did you mean 'precision'"):
        SubsetJudge(FAKE, REAL, k=3, metrics=("precison",))
    with pytest.raises(DataError, match=r"fake features are too few.*metric\.k"):
        SubsetJudge(FAKE[:3], REAL, k=3)


@pytest.mark.filterwarnings("ignore::genuq.metrics.SmallSampleWarning")
@pytest.mark.parametrize("memory_bytes", [2**13, 2**28])
@pytest.mark.parametrize("dimension", [6, 40])  # fewer than the members of the smallest subset, and more
def test_nested_subsets_are_as_each_of_them(monkeypatch, memory_bytes, dimension):
    """Also where the samples lie far from the reals, so that sums about the reals' mean would lose digits."""
    monkeypatch.setattr(subsets_module, "MEMORY_BYTES", memory_bytes)
    source = np.random.default_rng(5)
    real, fake = source.normal(size=(300, dimension)), source.normal(size=(160, dimension)) * 1.3
    order = source.permutation(160)
    nested = [np.sort(order[:size]) for size in (150, 90, 30)]
    for shift in (0.0, 1e3):
        judge = SubsetJudge(fake + shift, real, k=4)
        each = np.stack([judge(members) for members in nested])
        np.testing.assert_allclose(judge.nested(nested), each, rtol=1e-8, atol=1e-9)
