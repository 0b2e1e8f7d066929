"""Whole runs whose network is evaluated in half precision, or compiled: the same fit, other samples, who says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.pipeline.stages.sample import read_samples
from support.small_runs import POINTS, launch, run_of

SAMPLED = (*POINTS, "stages=[train,fit,sample,probe]", "score.also=[path_disagreement,renoised_disagreement]")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("float32")
    launch(folder, *SAMPLED)
    return folder


def compared(plain: Path, folder: Path, *overrides: str) -> dict[str, float]:
    """Largest differences between samples, draws and scores of two runs, in the size of the first one's."""
    launch(folder, *SAMPLED, f"store={plain}/store", *overrides)
    first, second = run_of(plain, *SAMPLED), run_of(folder, *SAMPLED, f"store={plain}/store", *overrides)
    assert first.artefacts["fit"].fingerprint == second.artefacts["fit"].fingerprint
    assert first.artefacts["sample"].fingerprint != second.artefacts["sample"].fingerprint
    found = {}
    for name in ("image", "draws", "score.path_disagreement"):
        one, other = (read_samples(run.path("sample"))[name] for run in (first, second))
        found[name] = float((one - other).abs().max() / one.abs().max())
    return found


def test_samples_and_scores_in_half_precision(plain: Path, tmp_path: Path) -> None:
    found = compared(plain, tmp_path, "sampler.precision=bfloat16")
    assert 0 < max(found.values()) < 0.05
    run = run_of(tmp_path, *SAMPLED, f"store={plain}/store", "sampler.precision=bfloat16")
    for stage in ("sample", "probe"):
        assert run.artefacts[stage].notes()["engine"] == {"precision": "bfloat16"}
    assert "engine" not in run_of(plain, *SAMPLED).artefacts["sample"].notes()


def test_what_has_no_half_precision_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"sampler\.precision = 'half'.*float32, bfloat16"):
        launch(tmp_path, *SAMPLED, "sampler.precision=half")


@pytest.mark.slow
def test_a_run_compiled_by_inductor(plain: Path, tmp_path: Path) -> None:
    torch._dynamo.reset()
    found = compared(plain, tmp_path, "sampler.compile=true")
    assert max(found.values()) < 1e-4
