"""Other libraries and genuq find the same numbers on the same features."""

from __future__ import annotations

import pytest

from genuq.bench import metric_peers
from genuq.bench.evaluation import NEIGHBOURS, normal
from genuq.bench.metric_peers import FID, MANIFOLD, METRICS, MODULES
from genuq.metrics import frechet_distance, precision_recall


@pytest.mark.parametrize(("kind", "library"), METRICS)
def test_a_library_finds_genuqs_numbers(kind, library):
    pytest.importorskip(MODULES[library])
    real, fake = normal(90, 12)
    found = METRICS[kind, library](real, fake, NEIGHBOURS)
    ours = {"fid": frechet_distance(real, fake), **precision_recall(real, fake, NEIGHBOURS)._asdict()}
    assert found and found == pytest.approx({name: ours[name] for name in found}, abs=1e-6)


def test_what_is_not_there_names_the_remedy(monkeypatch):
    monkeypatch.setattr(metric_peers, "find_spec", lambda name: None)
    assert metric_peers.missing("clean-fid") == "not installed: pip install clean-fid"
    assert metric_peers.lacking(FID, "prdc") == "prdc has no FID of features that it is given"
    assert metric_peers.lacking(MANIFOLD, "prdc") is None
