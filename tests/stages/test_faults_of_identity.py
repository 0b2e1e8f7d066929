"""What an artefact's identity must notice, and what it must not: settings of trainings, precision, content of files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from PIL import Image, ImageOps
from small_runs import IMAGES, POINTS, composed, run_of

from genuq.data import ImageFolder
from genuq.stages import neutral, pipeline
from genuq.stages.finished import is_finished, stamp_path
from genuq.stages.job import Job
from genuq.stages.overrides import config_directory, folders_of, search_path
from genuq.stages.pipeline import opened

DOWNSTREAM = {"sample", "embed", "score", "evaluate", "report"}
FITTED = {"posterior.draws", "fit", *DOWNSTREAM}


def fingerprints(folder: Path, *overrides: str, added: Mapping[str, object] | None = None) -> dict[str, str]:
    """Of every artefact of a run that applies, made or not; `added` are keys that no schema lists."""
    config = composed(*IMAGES, f"store={folder}/store", *overrides)
    for key, value in (added or {}).items():
        OmegaConf.update(config, key, value, force_add=True)
    run = opened(config, folder)
    skipped = {name for name in ("propagate", "apply") if name not in run.config.stages}
    return {name: artefact.fingerprint for name, artefact in run.artefacts.items() if name not in skipped}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


@pytest.fixture
def images(image_root: Path, tmp_path: Path) -> Path:
    """Images that may be changed."""
    return Path(shutil.copytree(image_root, tmp_path / "images"))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file in the place of a checkpoint, which identities only hash."""
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"weights")
    return path


@pytest.mark.parametrize("override", ["trainer.warmup_steps=1", "trainer.gradient_clip=0.5"])
def test_a_judge_trained_otherwise_is_not_reused(override: str, image_root: Path, tmp_path: Path) -> None:
    before = fingerprints(tmp_path, f"data.root={image_root}")
    assert "judge" in changed(before, fingerprints(tmp_path, f"data.root={image_root}", override))


def test_the_judges_steps_do_not_retrain_the_model(image_root: Path, tmp_path: Path) -> None:
    before = fingerprints(tmp_path, f"data.root={image_root}")
    after = fingerprints(tmp_path, f"data.root={image_root}", "trainer.judge_steps=4")
    assert changed(before, after) == {"judge", "embed", "score", "evaluate", "report"}


def test_the_steps_of_an_autoencoder_count_where_one_is_trained(
    image_root: Path, weights: Path, tmp_path: Path
) -> None:
    more = "trainer.autoencoder_steps=4"

    def differing(*overrides: str) -> set[str]:
        before = fingerprints(tmp_path, f"data.root={image_root}", *overrides)
        return changed(before, fingerprints(tmp_path, f"data.root={image_root}", *overrides, more))

    assert differing() == set()
    assert differing("model=latent_diffusion") == {"train", *FITTED}
    assert differing("model=latent_diffusion", f"trainer.start_from={weights}") == set()


def test_a_posterior_fitted_under_another_precision_is_not_reused(
    image_root: Path, weights: Path, tmp_path: Path
) -> None:
    given = [f"data.root={image_root}", "stages=[judge,fit,sample]", f"model.checkpoint={weights}"]
    after = fingerprints(tmp_path, *given, "trainer.precision=bf16-mixed")
    assert changed(fingerprints(tmp_path, *given), after) >= FITTED


def test_finished_members_know_no_precision_and_no_path(image_root: Path, weights: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copy(weights, tmp_path / "moved.safetensors"))
    members = ["posterior=posthoc_ensemble", "stages=[fit,sample]", f"model.checkpoint={weights}"]
    given = [f"data.root={image_root}", "metric=efficientnet", *members]
    before = fingerprints(tmp_path, *given, f"posterior.checkpoints={weights}")
    assert changed(before, fingerprints(tmp_path, *given, f"posterior.checkpoints={moved}")) <= {"judge"}
    precise = fingerprints(tmp_path, *given, f"posterior.checkpoints={weights}", "trainer.precision=bf16-mixed")
    assert changed(before, precise) <= {"train", "judge"}
    moved.write_bytes(b"others")
    assert changed(before, fingerprints(tmp_path, *given, f"posterior.checkpoints={moved}")) >= FITTED


def redrawn(root: Path, split: str) -> None:
    """One image of a split becomes another, with the size and the time of change that it had."""
    path = root / split / "top" / "003.png"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    content = path.read_bytes()
    with Image.open(path) as image:
        ImageOps.invert(image).save(path)
    assert path.read_bytes() != content
    os.utime(path, ns=times)


def swapped(root: Path) -> None:
    """The two class folders of each split change their names."""
    for split in ("train", "test"):
        for source, target in (("top", "aside"), ("bottom", "top"), ("aside", "bottom")):
            (root / split / source).rename(root / split / target)


def inverted(root: Path) -> None:
    for path in root.rglob("*.png"):
        with Image.open(path) as image:
            ImageOps.invert(image).save(path)


CHANGES: dict[str, Callable[[Path], None]] = {
    "a training image": lambda root: redrawn(root, "train"),
    "classes swapped": swapped,
    "all images inverted": inverted,
    "a class renamed": lambda root: [(root / s / "top").rename(root / s / "upper") for s in ("train", "test")] and None,
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_images_are_noticed_by_all_that_see_them(change: str, images: Path, tmp_path: Path) -> None:
    before = fingerprints(tmp_path, f"data.root={images}")
    CHANGES[change](images)
    assert changed(before, fingerprints(tmp_path, f"data.root={images}")) == before.keys()


@pytest.mark.parametrize("change", CHANGES)
def test_they_are_noticed_where_the_weights_come_from_a_file(
    change: str, images: Path, weights: Path, tmp_path: Path
) -> None:
    given = [f"data.root={images}", f"model.checkpoint={weights}", "stages=[judge,fit,sample,embed]"]
    before = fingerprints(tmp_path, *given)
    CHANGES[change](images)
    assert changed(before, fingerprints(tmp_path, *given)) == before.keys()


def test_a_changed_test_image_is_noticed_where_test_images_are_seen(
    images: Path, weights: Path, tmp_path: Path
) -> None:
    given = [f"data.root={images}", f"model.checkpoint={weights}", "stages=[judge,fit,sample,embed]"]
    before = fingerprints(tmp_path, *given)
    redrawn(images, "test")
    after = fingerprints(tmp_path, *given)
    assert changed(before, after) == {"train", "judge", "embed", "score", "evaluate", "report"}


def test_a_folder_that_moved_changes_nothing(images: Path, tmp_path: Path) -> None:
    before = fingerprints(tmp_path, f"data.root={images}")
    moved = images.rename(tmp_path / "elsewhere")
    assert changed(before, fingerprints(tmp_path, f"data.root={moved}")) == set()


@pytest.mark.parametrize("override", ["data.image_size=15", "data.channels=3", "data.subset=20", "seed=4"])
def test_which_images_and_how_still_counts(override: str, image_root: Path, tmp_path: Path) -> None:
    before = fingerprints(tmp_path, f"data.root={image_root}")
    after = fingerprints(tmp_path, f"data.root={image_root}", override)
    assert changed(before, after) == before.keys()


@pytest.mark.parametrize("group", ["likelihood", "metric"])
def test_an_extractors_checkpoint_counts_by_its_content(
    group: str, image_root: Path, weights: Path, tmp_path: Path
) -> None:
    options = {"likelihood": "likelihood=dino", "metric": "metric=inception"}[group]
    given = [f"data.root={image_root}", options]

    def with_file(path: Path) -> dict[str, str]:
        return fingerprints(tmp_path, *given, added={f"{group}.options.checkpoint": str(path)})

    before, moved = with_file(weights), Path(shutil.copy(weights, tmp_path / "moved.safetensors"))
    assert changed(before, with_file(moved)) == set()
    weights.write_bytes(b"others")
    assert changed(before, with_file(weights)) == {"embed", "score", "evaluate", "report"}


def test_an_autoencoder_on_disk_counts_by_its_content(image_root: Path, weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "autoencoder"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    shutil.copy(weights, folder / "diffusion_pytorch_model.safetensors")
    given = [f"data.root={image_root}", "model=latent_diffusion", "model.autoencoder.name=diffusers"]

    def of(place: Path, *overrides: str) -> dict[str, str]:
        return fingerprints(tmp_path, *given, f"model.autoencoder.path={place}", *overrides)

    from_file = ["stages=[judge,fit,sample,embed]", f"model.checkpoint={weights}"]
    before, before_from_file = of(folder), of(folder, *from_file)
    moved = folder.rename(tmp_path / "moved")
    assert changed(before, of(moved)) == set()
    (moved / "config.json").write_text('{"scaling_factor": 1.0}')
    assert changed(before, of(moved)) == {"train", *FITTED}
    assert changed(before_from_file, of(moved, *from_file)) == {"train", *FITTED}


@pytest.fixture
def ended(images: Path, tmp_path: Path) -> tuple[Path, Path]:
    """(stamp, store) of a sweep's job on a folder of images that came to its end."""
    store, sweep, overrides = tmp_path / "store", tmp_path / "sweep", ("seed=3",)
    (sweep / "seed=3").mkdir(parents=True)
    config = composed(*IMAGES, f"data.root={images}", f"store={store}", "stages=[train]", "trainer.steps=1")
    job = Job(name="seed=3", sweep=sweep, overrides=overrides)
    pipeline.execute(config, sweep / "seed=3", "genuq -m seed=3", job=job)
    stamp = stamp_path(store, sweep, overrides)
    assert is_finished(stamp, store)
    return stamp, store


@pytest.mark.parametrize("change", CHANGES)
def test_a_finished_job_notices_changed_images(change: str, images: Path, ended: tuple[Path, Path]) -> None:
    CHANGES[change](images)
    assert not is_finished(*ended)


def test_a_finished_job_notices_its_lack_of_images(images: Path, ended: tuple[Path, Path]) -> None:
    aside = images.rename(images.with_name("aside"))
    assert not is_finished(*ended)
    aside.rename(images)
    assert is_finished(*ended)


def test_an_edited_option_file_is_another_job(tmp_path: Path) -> None:
    own, sweep = tmp_path / "own", Path("outputs/sweeps/x")
    (own / "experiment").mkdir(parents=True)
    file = own / "experiment" / "mine.yaml"
    file.write_text("seed: 1\n")
    plain = stamp_path(tmp_path, sweep, ["seed=0"])
    before = stamp_path(tmp_path, sweep, ["seed=0"], [own])
    assert plain == stamp_path(tmp_path, sweep, ["seed=0"], []) != before
    moved = Path(shutil.copytree(own, tmp_path / "moved"))
    assert before == stamp_path(tmp_path, sweep, ["seed=0"], [moved])
    file.write_text("seed: 2\n")
    assert before != stamp_path(tmp_path, sweep, ["seed=0"], [own])


def test_the_users_option_folders_are_those_that_hydra_searches() -> None:
    arguments = ["-m", "--config-dir", "a", "seed=0,1", "hydra.searchpath=[file://b, pkg://genuq.data, pkg://no_lab]"]
    assert search_path(arguments) == ["a", "file://b", "pkg://genuq.data", "pkg://no_lab"]
    (inside,) = [folder for folder in folders_of(search_path(arguments)) if folder.name == "data"]
    assert folders_of(search_path(arguments)) == (Path("a"), Path("b"), inside)
    assert (inside / "folder.py").is_file()
    assert search_path(["--config-dir=a"]) == ["a"] and search_path(["seed=0"]) == []


def test_a_fingerprint_of_images_knows_class_names_labels_and_bytes(images: Path) -> None:
    def of(root: Path) -> str:
        return ImageFolder(root / "train", 16, 1, "train").fingerprint

    before = of(images)
    swapped(images)
    assert of(images) != before
    swapped(images)
    assert of(images) == before
    redrawn(images, "train")
    assert of(images) != before


def test_points_count_by_content_too(tmp_path: Path) -> None:
    def of(*overrides: str) -> dict[str, str]:
        run = run_of(tmp_path, *POINTS, *overrides)
        return {name: artefact.fingerprint for name, artefact in run.artefacts.items()}

    before = of()
    assert "train" in changed(before, of("data.standard_deviation=0.06"))
    assert "train" in changed(before, of("data.size=401"))


def test_the_configuration_leaves_neutral_keys_out_of_names() -> None:
    config = OmegaConf.load(config_directory() / "config.yaml")
    assert set(config.hydra.job.config.override_dirname.exclude_keys) == set(neutral.UNNAMED)
