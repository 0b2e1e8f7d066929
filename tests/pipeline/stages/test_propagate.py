"""The stage `propagate`: maps and their score in a run, resumption, refusals."""

import shutil
from pathlib import Path

import pytest
import torch

from genuq import files
from genuq.errors import ArtefactError, ConfigurationError
from genuq.pipeline.execute import preflight  # registers the stages
from genuq.pipeline.run import Run
from genuq.pipeline.stages.propagate import Propagate
from genuq.propagators import image_score
from support.painting import painted
from support.small_runs import IMAGES, POINTS, composed, copied, launch

STAGES = "stages=[train,judge,fit,sample,propagate,embed,score,evaluate,report]"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, image_root: Path) -> Path:
    folder = tmp_path_factory.mktemp("propagated")
    launch(folder, *IMAGES, f"data.root={image_root}", "propagator=trajectory", STAGES)
    return folder


def shards(folder: Path) -> list[dict[str, torch.Tensor]]:
    return [files.read_tensors(path)[0] for path in sorted((folder / "propagate").glob("shard-*.safetensors"))]


def test_the_maps_are_roots_of_the_variances_and_the_score_is_their_sum(finished: Path) -> None:
    parts = shards(finished)
    variance = torch.cat([part["variance"] for part in parts])
    assert torch.cat([part["index"] for part in parts]).tolist() == list(range(24)) and len(parts) == 3
    assert torch.allclose(torch.cat([part["map"] for part in parts]), variance.sqrt().float())
    columns, _ = files.read_tensors(finished / "score" / "scores.safetensors")
    assert torch.equal(columns["pixel_variance"], image_score(variance, "sum"))
    assert columns["pixel_variance"].unique().numel() > 1


def test_within_a_mask_another_score_of_the_same_variances(finished: Path, image_root: Path, tmp_path: Path) -> None:
    copy, mask = copied(finished, tmp_path / "copy"), painted(tmp_path / "mask.png", slice(4, 7))
    before = (copy / "propagate").resolve()
    launch(copy, *IMAGES, f"data.root={image_root}", "propagator=trajectory", f"propagator.mask={mask}", STAGES)
    assert (copy / "propagate").resolve() == before
    within = torch.zeros(16, 16, dtype=torch.bool)
    within[4:7] = True
    columns, _ = files.read_tensors(copy / "score" / "scores.safetensors")
    variance = torch.cat([part["variance"] for part in shards(copy)])
    assert torch.equal(columns["pixel_variance"], image_score(variance, "sum", within))
    how = files.read_json(copy / "report" / "results.json")["maps"]["how"]
    assert f"counts 48 of 256 pixels, those of {mask}." in how
    painted(mask, slice(0, 2))  # under the same name: not the same mask
    scored = STAGES.replace(",evaluate,report", "")
    launch(copy, *IMAGES, f"data.root={image_root}", "propagator=trajectory", f"propagator.mask={mask}", scored)
    columns, _ = files.read_tensors(copy / "score" / "scores.safetensors")
    assert torch.allclose(columns["pixel_variance"], variance[:, :, :2].sum((1, 2, 3)).double())


def test_the_report_shows_maps_and_what_they_cost(finished: Path) -> None:
    results = files.read_json(finished / "report" / "results.json")
    assert results["maps"]["propagator"] == "trajectory" and results["maps"]["evaluations_ratio"] < 1.6
    row = next(row for row in results["scores"] if row["name"] == "pixel_variance")
    spent = torch.cat([part["evaluations"] for part in shards(finished)])
    assert row["kind"] == "score" and row["evaluations_per_sample"] == pytest.approx(float(spent.mean()))
    assert results["maps"]["evaluations_ratio"] == pytest.approx(1 + float(spent.mean()) / 2)
    assert (finished / "report" / "plots" / "maps.png").is_file()


def test_finished_shards_are_not_made_again(
    finished: Path, image_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = copied(finished, tmp_path / "copy")
    kept, lost = sorted((copy / "propagate").glob("shard-*.safetensors"))[:2]
    before, age = files.sha256(lost), kept.stat().st_mtime_ns
    lost.unlink()
    (copy / "propagate" / "manifest.json").unlink()
    launch(copy, *IMAGES, f"data.root={image_root}", "propagator=trajectory", STAGES)
    assert files.sha256(lost) == before and kept.stat().st_mtime_ns == age


def test_killed_between_its_last_shard_and_its_manifest_it_ends_the_same(
    finished: Path, image_root: Path, tmp_path: Path
) -> None:
    copy = copied(finished, tmp_path / "copy")
    (copy / "propagate" / "manifest.json").unlink()
    for stage in ("score", "evaluate", "report"):
        shutil.rmtree((copy / stage).resolve())
    launch(copy, *IMAGES, f"data.root={image_root}", "propagator=trajectory", STAGES)
    before, after = (files.read_json(folder / "report" / "results.json") for folder in (finished, copy))
    assert after["maps"] == before["maps"] and after["scores"] == before["scores"]


def test_without_a_propagator_nothing_is_left(tmp_path: Path) -> None:
    """And with one, in the same places, there is."""
    propagated = [*POINTS, "stages=[train,fit,sample,propagate]"]
    launch(tmp_path, *propagated)
    assert not (tmp_path / "propagate").exists() and not (tmp_path / "store" / "propagate").exists()
    launch(tmp_path, *propagated, "propagator=trajectory")
    assert (tmp_path / "propagate").is_dir() and (tmp_path / "store" / "propagate").is_dir()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["propagator=corrected", "posterior=mc_dropout", "network.dropout=0.1"],
            "propagator = 'corrected' needs a closed-form variance",
        ),
        (["propagator=trajectory", "posterior=kfac", "posterior.images=20"], "needs a closed-form variance"),
        (["propagator=paper", "sampler=dpm_solver_pp_2m"], "propagator 'paper' knows one state"),
        (["propagator=trajectory", "propagator.reduce=most"], "propagator.reduce = 'most'"),
        (
            ["propagator=coherent", "posterior=deep_ensemble", "posterior.draws=2", "propagator.draws=3"],
            "propagator.draws = 3, but the run's deep_ensemble is asked for 2",
        ),
        (["propagator=corrected", "propagator.skip=0"], "propagator.skip = 0"),
        (["score.also=[pixel_variance]"], "score.also: 'pixel_variance' needs a propagator"),
    ],
)
def test_what_cannot_be_propagated_is_refused_before_any_work(
    overrides: list[str], said: str, tmp_path: Path, image_root: Path
) -> None:
    settings = [text for text in IMAGES if not text.startswith("sampler.") or "sampler" not in overrides[-1]]
    config = composed(*settings, f"data.root={image_root}", STAGES, *overrides)
    with pytest.raises(ConfigurationError, match=said):
        preflight.check(Run(config, tmp_path, "genuq"))


def test_a_broken_shard_is_named(finished: Path, image_root: Path, tmp_path: Path) -> None:
    copy = copied(finished, tmp_path / "copy")
    broken = sorted((copy / Propagate.name).glob("shard-*.safetensors"))[0]
    broken.write_bytes(broken.read_bytes()[:60])
    (copy / Propagate.name / "manifest.json").unlink()
    with pytest.raises(ArtefactError, match=broken.name):
        launch(copy, *IMAGES, f"data.root={image_root}", "propagator=trajectory", STAGES)
