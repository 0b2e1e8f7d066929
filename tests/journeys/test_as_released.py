"""A run on images read as released code reads them, judged against a reference of others: its report says both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from genuq import files
from genuq.data import image_folder
from genuq.models import to_bytes
from genuq.pipeline.configured import training_set
from genuq.pipeline.configured_judging import open_judge
from genuq.pipeline.stages.embed import read_judged
from genuq.store.artefact import MANIFEST
from support.small_runs import IMAGES, launch, run_of


def test_the_report_and_the_manifest_say_what_was_read(image_root: Path, tmp_path: Path) -> None:
    test_set = image_folder(image_root, 16, 1, "test")
    images = to_bytes(test_set.batch(range(30))[0])
    np.savez(tmp_path / "theirs.npz", images.permute(0, 2, 3, 1).numpy())
    released = ["data.released=diff_uq", "data.released_every=2", "posterior.images=16", "posterior.held_out=8"]
    given = [*IMAGES, f"data.root={image_root}", *released, f"metric.reference={tmp_path}/theirs.npz"]
    launch(tmp_path / "run", *given)
    run = run_of(tmp_path / "run", *given)
    assert len(training_set(run)) == 32 and training_set(run).name == "images as diff_uq released it"
    torch.testing.assert_close(read_judged(run.path("embed"))["real"], open_judge(run).embed(images))
    results = files.read_json(tmp_path / "run" / "report" / "results.json")
    assert results["data"]["name"] == "images as diff_uq released it" and results["data"]["reference_images"] == 30
    told = " ".join(results["judge"]["warnings"])
    assert "subset that favours early files" in told and "reference of the metrics is theirs.npz (sha256 " in told
    assert "favours early files" in (run.path("evaluate") / MANIFEST).read_text()
    assert "favours early files" in (tmp_path / "run" / "report" / "index.html").read_text()
