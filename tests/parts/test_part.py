"""Registers cost nothing until they are asked: importing genuq reads no plug-in and no slow library."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import importlib.metadata
found = importlib.metadata.entry_points
def refuse(**asked):
    assert asked.get("group") != "genuq.parts", "plug-ins were read at import"
    return found(**asked)
importlib.metadata.entry_points = refuse
import genuq
assert "torch" not in sys.modules
import genuq.posteriors, genuq.scores, genuq.extractors, genuq.applications, genuq.report.drawing.vocabulary
assert "timm" not in sys.modules
"""


def test_importing_genuq_reads_no_entry_point_and_nothing_slow() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)
