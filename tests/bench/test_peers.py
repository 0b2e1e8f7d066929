"""The other libraries on a tiny head: what they find is checked against the exact curvature."""

import resource

import pytest

pytest.importorskip("laplace")
pytest.importorskip("curvlinops")

from genuq.bench import peers
from genuq.bench import posteriors as benchmark
from genuq.bench.cases import Case
from genuq.errors import ConfigurationError

TINY = Case("tiny", (4, 8), 6, 2)


def peer(label):
    return next(one for one in peers.PEERS if one.label == label)


@pytest.mark.parametrize("label", ["full, BackPackGGN", "full, AsdlGGN", "diag, BackPackGGN", "diag, BackPackEF"])
def test_laplace_torch_finds_the_same_curvature_as_we(label):
    found = peers.measure(peer(label), TINY)
    assert found["error"] < 1e-5 and found["note"] is None
    assert found["fit_peak_bytes"] > 0 and found["fit_over_forward"] > 1 and found["variance_over_head_forward"] > 0


def test_curvlinops_finds_the_same_curvature_as_we():
    found = peers.measure(peer("GGN, GGNLinearOperator"), TINY)
    assert found["error"] < 1e-5 and "left to the user" in found["note"] and found["draw_seconds"] is None


def test_the_kfac_of_backpack_is_silently_wrong_on_a_convolution():
    assert peers.measure(peer("kron, BackPackGGN"), TINY)["error"] > 1
    assert peers.measure(peer("KFAC, KFACLinearOperator"), TINY)["error"] < 1


def test_a_measurement_in_a_process_of_its_own_comes_back():
    record = peers._in_a_process(peer("diag, BackPackEF"), TINY, seconds=120)
    assert record["error"] < 1e-5 and record["peer"] == peers.LAPLACE and record["images"] == 2


def test_a_failure_is_the_result():
    """In a process of its own, as it is measured: the limit of memory that it sets is not this process's."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    record = peers._in_a_process(peers.Peer(peers.LAPLACE, "full", "NoBackend", "exact_laplace"), TINY, seconds=120)
    assert "NoBackend" in record["note"] and record["error"] is None
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_memory_that_was_refused_is_told_in_bytes():
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 2147483648 bytes. Error")
    assert peers._words(error, free=20 * 2**30) == "out of memory at a further 2.00 GiB, 20 GiB were free"


def test_a_process_that_dies_says_so(monkeypatch):
    monkeypatch.setattr(peers.sys, "executable", "false")
    assert "ended with 1" in peers._in_a_process(peer("diag, BackPackEF"), TINY, seconds=10)["note"]


def test_a_peer_that_takes_too_long_is_given_up():
    record = peers._in_a_process(peer("full, BackPackGGN"), TINY, seconds=0.01)
    assert record["note"] == "not done after 0 s" and record["fit_over_forward"] is None
    assert record["needed_bytes"] == 4 * 2 * (3 * 6 * 6) * (3 * 37)
    assert benchmark.table([record]).count("\n") == 4


def test_missing_peers_name_the_remedy(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"genuq\[peers\]"):
        peers.require()
