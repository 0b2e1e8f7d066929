"""The promise of no N x N memory, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, sys, torch
from genuq.metrics import frechet_distance, precision_recall
reals, fakes, dimension = map(int, sys.argv[1:])
source = torch.Generator().manual_seed(0)
real, fake = (torch.randn(count, dimension, generator=source) for count in (reals, fakes))
frechet_distance(real, fake)
values = precision_recall(real, fake, 5)
print(json.dumps({"gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, **values._asdict()}))
"""


def measured(*sizes: int) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *map(str, sizes)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_fifty_thousand_against_ten_thousand_stay_within_three_gibibytes():
    """About two minutes on one thread. The matrix of distances alone would take 4 GiB, that of the reals 20 GiB."""
    found = measured(50_000, 10_000, 1280)
    assert found["gib"] < 3.0
    assert 0.0 <= found["precision"] <= 1.0
