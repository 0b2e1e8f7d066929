"""An earlier genuq beside this one; both are made up here, of a command that only leaves manifests and samples."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

import genuq
from genuq.bench import baseline
from genuq.bench.baseline import STAGES, WHOLE, Side, spent_by_stage
from genuq.bench.rows import BASELINE, OURS
from genuq.bench.timing import Spent
from genuq.errors import ConfigurationError, GenuqError

COMMAND = """
import sys
from pathlib import Path

def main():
    import numpy as np
    from safetensors.numpy import save_file

    if "sampler.steps=3" in sys.argv:
        sys.exit("no such option")
    store = Path(next(word for word in sys.argv if word.startswith("store="))[6:])
    for stage in ("fit", "sample", "embed", "score", "evaluate"):
        folder = store / stage / "0123"
        folder.mkdir(parents=True)
        if stage == "sample":
            save_file({"image": np.full((2, 1), SHIFT, dtype=np.float32)}, folder / "shard-0.safetensors")
        (folder / "manifest.json").write_text("{}")
"""


def packed(path: Path, shift: float) -> Path:
    """A wheel, as far as its contents go."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("genuq/__init__.py", f"SHIFT = {shift}\n" + COMMAND)
        archive.writestr("genuq-0.dist-info/METADATA", "Metadata-Version: 2.1\nName: genuq\nVersion: 0\n")
        archive.writestr("genuq-0.dist-info/entry_points.txt", "[console_scripts]\ngenuq = genuq:main\n")
    return path


def test_stages_of_both_are_compared(tmp_path, monkeypatch):
    with zipfile.ZipFile(packed(tmp_path / "new.whl", 0.25)) as archive:
        archive.extractall(tmp_path / "new")
    monkeypatch.setattr(baseline, "ours", lambda: Side(OURS, sys.executable, str(tmp_path / "new")))
    rows = baseline.rows(str(packed(tmp_path / "old.whl", 0.0)), quick=True, rounds=1)
    assert [row.side for row in rows] == [BASELINE, OURS] * (len(STAGES) + 1)
    assert {row.what for row in rows} == {*(f"stage {stage} of a run" for stage in STAGES), WHOLE}
    assert rows[-1].values == {"samples differ by": 0.25} and rows[-1].target == 0.4 and rows[-1].ratio is not None
    assert rows[-1].peak_bytes and rows[-1].peak_bytes > 1e6


def test_a_run_that_fails_says_whose_and_why(tmp_path):
    side = baseline.baseline(str(packed(tmp_path / "old.whl", 0.0)), tmp_path)
    with pytest.raises(GenuqError, match=r"baseline failed on genuq sampler\.steps=3: no such option"):
        baseline.launched(side, ["sampler.steps=3"], tmp_path / "run")


def test_a_stage_takes_from_its_folder_or_the_stage_before_to_its_manifest():
    clock = {"fit": 1, "sample": 1, "fit/manifest.json": 4, "embed": 9, "sample/manifest.json": 6}
    taken = spent_by_stage({key: (10 * value, value) for key, value in clock.items()})
    assert taken == {"fit": Spent(30, 3), "sample": Spent(20, 2)}


def test_without_a_baseline_the_way_to_one_is_told():
    (row,) = baseline.rows(None, quick=True, rounds=1)
    assert row.target == 0.4 and row.ratio is None and "pip wheel --no-deps" in (row.reason or "")


def test_a_baseline_that_cannot_be_run_names_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "text.whl").write_text("no archive")
    with pytest.raises(ConfigurationError, match=r"text.whl is no wheel that can be read.*pip wheel --no-deps"):
        baseline.require(str(tmp_path / "text.whl"))
    with pytest.raises(ConfigurationError, match=r"nowhere cannot be run.*pip wheel --no-deps"):
        baseline.require(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match=r"has no genuq that can be imported"):
        baseline.require("false")
    monkeypatch.setattr(genuq, "__file__", str(tmp_path / "wheel" / "genuq" / "__init__.py"))
    with pytest.raises(ConfigurationError, match="is this very genuq"):
        baseline.baseline(str(packed(tmp_path / "own.whl", 0.0)), tmp_path)
