"""What the configuration makes of a run: its data, its model's description, and where the weights come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from genuq import files
from genuq.errors import ConfigurationError
from genuq.pipeline.configured import (
    autoencoder_content,
    build_sampler,
    checkpoint_path,
    description_of,
    is_image,
    test_set,
    training_set,
    untrained_model,
    weights_of,
)
from genuq.pipeline.run import Run
from genuq.solvers import DDIM
from genuq.store.upstream import FileContent, Upstream
from support.small_runs import IMAGES, POINTS, composed

test_set.__test__ = False  # type: ignore[attr-defined]  # no test of pytest's


def run(folder: Path, *overrides: str) -> Run:
    return Run(composed(*POINTS, f"store={folder}/store", *overrides), folder, "genuq")


def test_a_model_is_described_after_its_data(image_root: Path, tmp_path: Path) -> None:
    points = description_of(run(tmp_path))
    assert points["shape"] == [2] and points["num_classes"] == 0 and points["network"]["width"] == 16
    images = Run(composed(*IMAGES, f"data.root={image_root}"), tmp_path, "genuq")
    assert is_image(images) and not is_image(run(tmp_path))
    assert description_of(images)["shape"] == [1, 16, 16] and description_of(images)["num_classes"] == 2
    assert (len(training_set(images)), len(test_set(images))) == (64, 48)


def test_data_that_a_released_network_is_not_for_are_refused_before_it_is_built(
    image_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genuq.pipeline.configured.built", None)
    asked = ["model=adm", "model.preset=imagenet_128", "data=image_folder", f"data.root={image_root}"]
    for size, wrong in (("16", r"shape \(3, 128, 128\)"), ("128", "knows 1000 classes")):
        with pytest.raises(ConfigurationError, match=wrong):
            untrained_model(Run(composed(*asked, f"data.image_size={size}"), tmp_path, "genuq"))


def test_weights_are_the_runs_own_or_those_of_a_file_by_its_content(tmp_path: Path) -> None:
    own = weights_of(run(tmp_path))
    assert isinstance(own, Upstream) and own.stage == "train"
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"weights")
    given = weights_of(run(tmp_path, "stages=[fit]", f"model.checkpoint={file}"))
    assert given == FileContent(files.sha256(file), file)
    with pytest.raises(ConfigurationError, match="does not exist, but the configuration names it"):
        weights_of(run(tmp_path, "stages=[fit]", f"model.checkpoint={file}.gone"))
    assert checkpoint_path(run(tmp_path, "stages=[fit]")) == tmp_path / "train" / "model.safetensors"


def test_an_autoencoder_that_is_read_otherwise_than_before_has_another_identity(tmp_path: Path) -> None:
    """Latents by channel were once not normalised: what was made so is made anew, and nothing else is."""
    place = tmp_path / "autoencoder"
    place.mkdir()
    chosen = ("model=latent_diffusion", "model.autoencoder.name=diffusers", f"model.autoencoder.path={place}")
    found = []
    for config in ({"scaling_factor": 0.5}, {"scaling_factor": 0.5, "latents_mean": [0.1, 0.2]}, []):
        files.write_json(place / "config.json", config)
        found.append((autoencoder_content(run(tmp_path, *chosen)), run(tmp_path).sha256_of_folder(place)))
    assert [content for content, _ in found] == [found[0][1], f"{found[1][1]}, by channel", found[2][1]]
    assert autoencoder_content(run(tmp_path)) is None


def test_a_sampler_has_its_solvers_options(tmp_path: Path) -> None:
    sampler = build_sampler(run(tmp_path, "sampler=ddim", "sampler.eta=0.5", "sampler.steps=7"))
    assert isinstance(sampler.solver, DDIM) and sampler.solver.eta == 0.5
    assert (sampler.steps, sampler.seed, sampler.clip_x0) == (7, 3, False)
    assert build_sampler(run(tmp_path, "sampler.clip_x0=true")).clip_x0
