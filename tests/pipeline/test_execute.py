"""What a run leaves behind, what a second run reuses, and what it makes again."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from genuq import files
from genuq.errors import ArtefactError
from genuq.models.checkpoints import load_classifier, load_model
from support.small_runs import IMAGES, POINTS, copied, launch

ARTEFACTS = {
    "train": {"model.safetensors"},
    "judge": {"judge.safetensors"},
    "fit": {"posterior.safetensors"},
    "embed": {"shard-0000000-0000008.safetensors", "real.safetensors"},
    "score": {"scores.safetensors"},
    "evaluate": {"evaluation.json"},
    "report": {"index.html", "results.json", "results.csv"},
}


@pytest.fixture
def points_copy(points_run: Path, tmp_path: Path) -> Path:
    return copied(points_run, tmp_path / "points")


def written(folder: Path, stage: str) -> dict[str, int]:
    """When each artefact of a stage was written, in nanoseconds."""
    return {str(f): f.stat().st_mtime_ns for f in (folder / stage).rglob("*") if f.is_file()}


def changed_stages(folder: Path, *overrides: str, of: Sequence[str] = POINTS) -> list[str]:
    """Run again with further overrides; the stages any of whose files were written anew."""
    stages = [path.name for path in folder.iterdir() if (path / "manifest.json").exists()]
    before = {stage: written(folder, stage) for stage in stages}
    launch(folder, *of, *overrides)
    return sorted(stage for stage in stages if written(folder, stage) != before[stage])


def strict_json(path: Path) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{path.name} holds {constant}, which is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_every_stage_leaves_its_artefacts_and_a_manifest_that_covers_them(images_run: Path) -> None:
    for stage, names in ARTEFACTS.items():
        manifest = strict_json(images_run / stage / "manifest.json")
        assert names <= manifest["files"].keys(), stage
        assert manifest["made_from"]["stage"] == stage
        assert all(files.sha256(images_run / stage / name) == digest for name, digest in manifest["files"].items())
    shards = strict_json(images_run / "sample" / "manifest.json")["files"]
    assert list(shards) == [f"shard-{n:07d}-{n + 8:07d}.safetensors" for n in (0, 8, 16)]


def test_results_are_strict_json_and_csv_has_a_row_for_each_sample(images_run: Path) -> None:
    results = strict_json(images_run / "report" / "results.json")
    assert results["posterior"]["draws"] == 2 and results["config"]["sampler"]["samples"] == 24
    assert results["data"]["class_names"] == ["bottom", "top"]
    with open(images_run / "report" / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == list(range(24))
    scores, _ = files.read_tensors(images_run / "score" / "scores.safetensors")
    assert torch.allclose(torch.tensor([float(r["score_entropy"]) for r in rows]).double(), scores["entropy"])


def test_every_control_stands_in_the_table(images_run: Path) -> None:
    table = strict_json(images_run / "report" / "results.json")["summary"]["table"]
    kinds = {row["score"]: row["kind"] for row in table}
    assert {"random", "complexity", "direct_noise", "jitter"} <= {n for n, kind in kinds.items() if kind == "control"}
    assert kinds["realism"] == "oracle" and kinds["entropy"] == kinds["trace"] == "score"


def test_the_csv_logger_writes_the_numbers_of_the_table(images_run: Path) -> None:
    lines = (images_run / "logs" / "evaluation.csv").read_text().splitlines()
    logged = {name: float(value) for name, value in (line.split(",") for line in lines[1:])}
    results = strict_json(images_run / "report" / "results.json")
    entropy = next(row for row in results["summary"]["table"] if row["score"] == "entropy")
    assert logged["entropy/auroc"] == pytest.approx(entropy["auroc"], abs=1e-12)
    assert logged["posterior/temperature"] == pytest.approx(results["posterior"]["scale"]["temperature"])


def test_the_trained_model_and_judge_can_be_loaded_again(images_run: Path) -> None:
    model, notes = load_model(images_run / "train" / "model.safetensors")
    assert model.shape == (1, 16, 16) and model.num_classes == 2
    assert notes["test_loss"] > 0 and notes["configuration"]["trainer"]["steps"] == 3
    _, accuracy = load_classifier(images_run / "judge" / "judge.safetensors")
    assert accuracy == strict_json(images_run / "report" / "results.json")["judge"]["real_test_accuracy"]


def test_a_second_run_reuses_everything(points_copy: Path) -> None:
    assert changed_stages(points_copy) == []


def test_another_space_of_the_likelihood_embeds_anew_and_keeps_the_samples(
    images_run: Path, image_root: Path, tmp_path: Path
) -> None:
    copy, root = copied(images_run, tmp_path / "images"), f"data.root={image_root}"
    of_images = [*IMAGES, root, "stages=[train,judge,fit,sample,embed,score,evaluate]"]
    semantic = ["likelihood=semantic", "likelihood.options.image_size=32"]
    assert changed_stages(copy, *semantic, of=of_images) == ["embed", "evaluate", "score"]


def test_a_changed_likelihood_keeps_what_it_does_not_enter(points_copy: Path) -> None:
    assert changed_stages(points_copy, "likelihood.include_unperturbed=false") == ["evaluate", "score"]


def test_a_changed_sampler_keeps_the_fit(points_copy: Path) -> None:
    assert changed_stages(points_copy, "sampler.steps=4") == ["embed", "evaluate", "sample", "score"]


@pytest.mark.parametrize("neutral", ["likelihood.batch_size=7", "posterior.batch_size=9", "trainer.checkpoint_every=2"])
def test_what_changes_no_result_makes_nothing_again(neutral: str, points_copy: Path) -> None:
    assert changed_stages(points_copy, neutral) == []


def test_another_batch_size_gives_the_same_samples(points_run: Path, points_copy: Path) -> None:
    launch(points_copy, *POINTS, "sampler.batch_size=7", "stages=[sample]", "model.checkpoint=null")
    parts = [
        torch.cat([files.read_tensors(shard)[0]["image"] for shard in sorted((run / "sample").glob("shard-*"))])
        for run in (points_run, points_copy)
    ]
    assert parts[0].shape == (40, 2)
    assert torch.allclose(*parts, atol=1e-5)


def test_samples_of_another_configuration_are_not_scored(points_copy: Path) -> None:
    """Else the embeddings of old samples would pass for those of new ones ever after."""
    with pytest.raises(ArtefactError, match=r"'embed' needs 'sample'.*stages=\[sample,embed"):
        launch(points_copy, *POINTS, "sampler.steps=4", "stages=[embed]", "model.checkpoint=null")


def test_weights_trained_earlier_keep_their_identity(points_copy: Path) -> None:
    """Without the stage train its settings are those of the file, whatever the command says."""
    before = written(points_copy, "fit")
    launch(points_copy, *POINTS, "trainer.steps=6", "stages=[fit]", "model.checkpoint=null")
    assert written(points_copy, "fit") == before


@pytest.mark.parametrize(
    "artefact",
    [
        "fit/posterior.safetensors",
        "sample/shard-0000016-0000032.safetensors",
        "embed/shard-0000016-0000032.safetensors",
        "evaluate/evaluation.json",
    ],
)
@pytest.mark.parametrize("harm", ["truncated", "altered"])
def test_a_harmed_artefact_is_named(artefact: str, harm: str, points_copy: Path) -> None:
    content = bytearray((points_copy / artefact).read_bytes())
    content[-20] ^= 1
    (points_copy / artefact).write_bytes(content if harm == "altered" else content[:-20])
    with pytest.raises(ArtefactError, match=Path(artefact).name):
        launch(points_copy, *POINTS)


def test_a_missing_artefact_is_named(points_copy: Path) -> None:
    (points_copy / "score" / "scores.safetensors").unlink()
    with pytest.raises(ArtefactError, match=r"scores\.safetensors is missing"):
        launch(points_copy, *POINTS)


def test_a_truncated_manifest_is_named(points_copy: Path) -> None:
    manifest = points_copy / "fit" / "manifest.json"
    manifest.write_text(manifest.read_text()[:100])
    with pytest.raises(ArtefactError, match=r"fit/\w+/manifest\.json is not whole JSON"):
        launch(points_copy, *POINTS)


def test_an_image_run_is_reused_too(images_run: Path, image_root: Path, tmp_path: Path) -> None:
    folder = copied(images_run, tmp_path / "images")
    stages = list(ARTEFACTS)
    before = {stage: written(folder, stage) for stage in stages}
    launch(folder, *IMAGES, f"data.root={image_root}")
    assert {stage: written(folder, stage) for stage in stages} == before
