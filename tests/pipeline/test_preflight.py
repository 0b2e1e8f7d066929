"""What is wrong is said before any long work, with the key to change."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from genuq import files, models
from genuq.config import schemas
from genuq.config.compose import configurations
from genuq.data import ArrayDataset
from genuq.errors import ArtefactError, CheckpointError, ConfigurationError, DataError, GenuqError, NonFiniteError
from genuq.models.checkpoints import reference_members, save_model
from genuq.pipeline import preflight
from genuq.pipeline.configured import description_of, training_set
from genuq.pipeline.preflight import check_settings
from genuq.pipeline.run import Run
from genuq.pipeline.stage import Stage
from genuq.posteriors import DoubtfulFitWarning
from support.small_runs import IMAGES, POINTS, composed, launch

GRIDS = "uniform_time, uniform_log_snr, karras or timesteps"


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever gets as far as beginning a stage has been noticed too late."""

    def begun(stage: Stage, *_: object) -> None:
        raise AssertionError(f"stage {stage.name} began")

    monkeypatch.setattr(Stage, "execute", begun)


@pytest.fixture(scope="module")
def checkpoint(image_root: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that was never trained, but fits the configuration."""
    path = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    description = description_of(Run(composed(*IMAGES, f"data.root={image_root}"), path.parent, "genuq"))
    save_model(path, models.build(description), description, notes={})
    return f"model.checkpoint={path}"


LATER = "stages=[fit,sample,judge,embed,score,evaluate,report]"


@pytest.fixture(scope="module")
def from_checkpoint(checkpoint: str, image_root: Path) -> list[str]:
    """A run on the image folder that starts from a trained model."""
    return [*IMAGES, f"data.root={image_root}", LATER, checkpoint]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.head=out", r"model\.head = 'out'.*Known: .*head"),
        ("sampler.classes=[0,2]", r"sampler\.classes has class 2, but the model knows 0 to 1"),
        ("posterior.draws=1", r"posterior\.draws = 1; at least 2"),
        ("posterior.images=4096", r"posterior\.images \+ posterior\.held_out = 4112.*has 64"),
        ("score.controls=[random,jiter]", r"score\.controls: 'jiter' does not exist.*'jitter'"),
        ("score.also=[variance]", r"score\.also: 'variance' does not exist"),
        ("score.name=entropi", r"score\.name: 'entropi' does not exist.*'entropy'"),
        ("stages=[fit,sampel]", r"stages: 'sampel' does not exist.*'sample'"),
        ("sampler.steps=0", r"sampler\.steps"),
        (
            "sampler.spacing=trailing",
            rf"sampler\.spacing = 'trailing'; choose {GRIDS}",
        ),
        ("sampler.samples=6", r"6 samples are too few"),
        ("sampler.name=eular", r"sampler\.name: 'eular' does not exist.*'euler'"),
        ("metric.k=90", r"too few|metric\.k"),
        ("metric.k=0", r"k"),
        ("metric.extractor=points", r"metric\.extractor = 'points' cannot judge"),
        ("metric.extractor=pixels", r"'pixels-1x16x16' both scores and judges"),
        ("likelihood.name=pixle", r"likelihood\.name: 'pixle' does not exist\. Did you mean 'pixel'"),
        ("metric.truth=orakle", r"metric\.truth = 'orakle'; choose judge or oracle"),
        ("metric.truth=oracle", r"metric\.truth = 'oracle', but \w+ was not drawn by rules"),
        ("metric.bad=[broken]", r"metric\.bad = \['broken'\] names faults that only an oracle tells apart"),
        ("data.starve={bat: 0.1}", r"data\.starve: \w+ has no class 'bat'"),
        ("logger.name=tensorbord", r"logger\.name = 'tensorbord'"),
        ("device=quantum", r"device = 'quantum' cannot be used"),
        ("data.channels=2", r"data\.channels = 2; choose 1 or 3"),
    ],
    ids=lambda value: value.split("=")[0] if "=" in value else "",
)
def test_a_wrong_value_is_named(override: str, message: str, from_checkpoint: list[str], tmp_path: Path) -> None:
    with pytest.raises(GenuqError, match=message):
        launch(tmp_path, *from_checkpoint, override)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sampler.guidance_scale=2.0", r"sampler\.guidance_scale = 2\.0, but the model knows no classes"),
        ("sampler.classes=[0]", r"the model knows no classes"),
        ("score.controls=[complexity]", r"'complexity' needs images"),
        ("likelihood=semantic", r"likelihood=semantic needs images"),
        ("metric=efficientnet", r"metric\.extractor = 'efficientnet' cannot judge.*metric=points"),
        ("posterior.images=400", r"posterior\.images \+ posterior\.held_out = 450"),
        ("model.head=out", r"model\.head = 'out'"),
    ],
)
def test_what_only_later_stages_need_is_checked_before_the_training(
    override: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        launch(tmp_path, *POINTS, override)


def test_statistics_of_others_are_checked_before_any_work(from_checkpoint: list[str], tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    given = [*from_checkpoint, f"metric.statistics={path}"]
    with pytest.raises(ConfigurationError, match=r"metric\.extractor = 'classifier' is a space that nobody else"):
        launch(tmp_path, *given)
    given += ["metric.extractor=efficientnet"]
    with pytest.raises(GenuqError, match=r"reference\.npz.* does not exist"):
        launch(tmp_path, *given)
    np.savez(path, mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(DataError, match=r"have dimension 3, but the judge 'efficientnet-lite0.*' gives 1280"):
        launch(tmp_path, *given)


def harmed(checkpoint: str, path: Path, name: str, change) -> str:
    """A copy of a checkpoint in which `change` has been applied to one tensor (None removes it)."""
    tensors, metadata = files.read_tensors(checkpoint.removeprefix("model.checkpoint="))
    changed = change(tensors.pop(name))
    files.write_tensors(path, tensors if changed is None else {**tensors, name: changed}, metadata)
    return f"model.checkpoint={path}"


def test_keys_that_do_not_fit_the_network_are_named(
    checkpoint: str, from_checkpoint: list[str], tmp_path: Path
) -> None:
    broken = harmed(checkpoint, tmp_path / "broken.safetensors", "network.head.bias", lambda _: None)
    with pytest.raises(CheckpointError, match=r"1 missing: network\.head\.bias"):
        launch(tmp_path, *from_checkpoint, broken)


def test_a_checkpoint_of_another_network_is_refused(from_checkpoint: list[str], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"network\.channels: \[8, 16\] in the file, \[8, 24\] in the config"):
        launch(tmp_path, *from_checkpoint, "network.channels=[8,24]")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(
    value: float, checkpoint: str, from_checkpoint: list[str], tmp_path: Path
) -> None:
    broken = harmed(
        checkpoint, tmp_path / "broken.safetensors", "network.head.bias", lambda bias: torch.full_like(bias, value)
    )
    with pytest.raises(NonFiniteError, match=r"network\.head\.bias"):
        launch(tmp_path, *from_checkpoint, broken)


def test_a_truncated_checkpoint_is_named(checkpoint: str, from_checkpoint: list[str], tmp_path: Path) -> None:
    path = tmp_path / "short.safetensors"
    path.write_bytes(Path(checkpoint.removeprefix("model.checkpoint=")).read_bytes()[:-10])
    with pytest.raises(GenuqError, match=r"short\.safetensors is truncated"):
        launch(tmp_path, *from_checkpoint, f"model.checkpoint={path}")


def test_a_checkpoint_that_does_not_exist_is_named(from_checkpoint: list[str], tmp_path: Path) -> None:
    with pytest.raises(GenuqError, match=r"nowhere\.safetensors does not exist"):
        launch(tmp_path, *from_checkpoint, "model.checkpoint=nowhere.safetensors")


def test_no_reference_checkpoint_for_this_data(from_checkpoint: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"flow_matching_image_folder.*stages=\[train,\.\.\.\]"):
        launch(tmp_path, *from_checkpoint, "model.checkpoint=reference")


def test_test_folders_of_other_classes_are_refused(image_root: Path, tmp_path: Path) -> None:
    """Their labels would be those of other classes: a perfect judge was reported with 0 %."""
    root = Path(shutil.copytree(image_root, tmp_path / "images"))
    (root / "test" / "top").rename(root / "test" / "above")
    with pytest.raises(DataError, match="class folders that the training set lacks: above; it has bottom, top"):
        launch(tmp_path / "run", *IMAGES, f"data.root={root}")


def test_both_splits_mean_the_same_by_a_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(composed(*POINTS), tmp_path, "genuq")
    preflight.check_splits(run)
    names = training_set(run).class_names[::-1]
    turned = ArrayDataset(torch.zeros(2, 2), torch.zeros(2), names, "turned round", "test")
    monkeypatch.setattr(preflight, "test_set", lambda _: turned)
    with pytest.raises(DataError, match=r"has the classes mode 24, mode 23, .* its training set mode 0, mode 1"):
        preflight.check_splits(run)


@pytest.mark.parametrize("override", ["propagator=trajectory", "score=divergence"])
def test_a_sampler_that_clips_is_refused_where_affine_steps_are_needed(
    override: str, from_checkpoint: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"'(trajectory|divergence)'.*sampler\.clip_x0 = true"):
        launch(tmp_path, *from_checkpoint, "sampler.clip_x0=true", override)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_corrupt_image_is_named(split: str, image_root: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(image_root, tmp_path / "images"))
    image = root / split / "top" / "003.png"
    image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(DataError, match=r"top/003\.png"):
        launch(tmp_path / "run", *IMAGES, f"data.root={root}")


def test_an_empty_folder_a_missing_one_and_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for root, message in (("empty", "empty is empty"), ("missing", "missing does not exist")):
        with pytest.raises(DataError, match=message):
            launch(tmp_path / "run", *IMAGES, f"data.root={tmp_path / root}")
    with pytest.raises(ConfigurationError, match="needs root"):
        launch(tmp_path / "run", *IMAGES)


def test_a_folder_without_test_images_is_refused_before_the_training(image_root: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(image_root, tmp_path / "images"))
    shutil.rmtree(root / "test")
    with pytest.raises(DataError, match="no folder for the test split"):
        launch(tmp_path / "run", *IMAGES, f"data.root={root}")


def test_a_sound_run_passes_the_check(from_checkpoint: list[str], tmp_path: Path) -> None:
    """And makes nothing: that the same run with one thing wrong is refused, the other tests say."""
    preflight.check(Run(composed(*from_checkpoint), tmp_path / "run", "genuq"))
    assert not list(tmp_path.rglob("*.safetensors")) and not (tmp_path / "run" / "store").exists()


def test_a_start_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.safetensors does not exist"):
        launch(tmp_path, *POINTS, f"trainer.start_from={tmp_path}/nowhere.safetensors")


@pytest.mark.parametrize(
    ("overrides", "lacking"),
    [
        (["stages=[train,fit,sample,embed,score]", "score.also=[lid]"], "'score' needs 'probe'"),
        (["stages=[train,fit,sample,score]"], "'score' needs 'embed'"),
        (["stages=[train,sample]"], "'sample' needs 'fit'"),
        (["stages=[train,fit,sample,embed,score,report]"], "'report' needs 'evaluate'"),
    ],
)
def test_a_stage_that_is_left_out_is_named_before_the_others_work(
    tmp_path: Path, overrides: list[str], lacking: str
) -> None:
    with pytest.raises(ArtefactError, match=f"stage {lacking}, which was not made .* Add it: stages="):
        launch(tmp_path, *POINTS, *overrides)


def check(folder: Path, *overrides: str) -> None:
    schemas.register()
    base = (
        "experiment=mixture",
        "device=cpu",
        "stages=[train,fit,sample]",
        f"store={folder}",
        "posterior=exact_laplace",
    )
    ((_, config),) = configurations([*base, *overrides])
    OmegaConf.resolve(config)
    check_settings(Run(config, folder, "genuq"))


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (
            ["propagator=trajectory", "propagator.map_method=draw"],
            "propagator.map_method = 'draw'; choose draws",
        ),
        (["propagator=trajectory", "propagator.map_draws=1"], "propagator.map_draws = 1; at least 2"),
        (["propagator=trajectory", "propagator.reduce=max"], "propagator.reduce = 'max'; choose sum, mean or top"),
        (["propagator=trajectory", "propagator.share=0"], r"propagator.share = 0.0; it must lie in \(0, 1\]"),
        (
            ["sampler.spacing=uniform"],
            f"sampler.spacing = 'uniform'; choose {GRIDS}",
        ),
        (["likelihood.batch_size=-1"], "likelihood.batch_size = -1; at least 1"),
        (["score.jitter_size=-1"], "score.jitter_size = -1.0; it must be finite and above 0"),
        (["score.jitter_size=nan"], "score.jitter_size = nan"),
        (["device=meta"], "device = 'meta' cannot be used"),
        (["posterior=map"], "score.name = 'entropy' scores how draws differ, but posterior = 'map'"),
        (["+posterior@beside.judge=kfac"], "beside.judge: this name means something else"),
        (["+posterior@beside.evaluations=kfac"], "beside.evaluations: this name means something else"),
        (["posterior=kfac", "posterior.layers=[nowhere]"], "posterior.layers = 'nowhere'"),
        (["posterior=mc_dropout"], "MLP has no nn.Dropout"),
        (["metric.curves=[fdi]"], "metric.curves: 'fdi' does not exist. Did you mean 'fid'"),
        (
            ["posterior=swag", "posterior.members=5", "posterior.steps=3"],
            "posterior.members = 5 snapshots need as many",
        ),
        (
            ["posterior=deep_ensemble", "posterior.members=2"],
            "posterior.draws = 5, but the ensemble has 2 members: lower posterior.draws to 2, or raise posterior.mem",
        ),
        (["posterior.time_bins=3", "posterior.held_out=0"], "posterior.held_out = 0; at least 1"),
        (["network.width=7"], "network.width = 7 is not divisible by 2"),
        (["score.name=pixel_variance"], "score.name: 'pixel_variance' needs a propagator"),
        (["model.process.name=nowhere"], "model.process.name: 'nowhere' does not exist|process"),
    ],
)
def test_a_number_that_a_later_stage_uses_is_refused_with_its_key(
    overrides: list[str], named: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{named}"):
        check(tmp_path, *overrides)


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        (1, "posterior.checkpoints has 1 member: give the files of at least 3 members as posterior.checkpoints."),
        (2, "posterior.checkpoints has 2 members: lower posterior.draws to 2, or give the files of at least 3 members"),
    ],
)
def test_more_draws_than_given_members_are_refused_with_what_helps(given: int, remedy: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.safetensors" for k in range(given)]
    for path in paths:
        files.write_tensors(path, {"weight": torch.zeros(1)})
    with pytest.raises(ConfigurationError, match=f"^posterior.draws = 3, but {re.escape(remedy)}"):
        named = f"posterior.checkpoints=[{','.join(map(str, paths))}]"
        check(tmp_path, "posterior=deep_ensemble", named, "posterior.draws=3")


def test_more_draws_than_shipped_members_are_refused_with_how_many_there_are(tmp_path: Path) -> None:
    run = Run(composed("experiment=quickstart", f"store={tmp_path}", "posterior.draws=9"), tmp_path, "genuq")
    shipped = len(reference_members("flow_matching_glyphs", "deep_ensemble"))
    with pytest.raises(ConfigurationError) as caught:
        check_settings(run)
    assert str(caught.value) == (
        f"posterior.draws = 9, but {shipped} members ship (posterior.checkpoints = reference): lower posterior.draws "
        f"to {shipped}, or give the files of at least 9 members as posterior.checkpoints."
    )


def test_a_run_with_sound_numbers_passes(tmp_path: Path) -> None:
    check(tmp_path, "propagator=trajectory", "propagator.map_method=linear", "sampler.spacing=uniform_log_snr")


def test_epsilon_at_zero_terminal_snr_is_warned_of_before_any_work(image_root: Path, tmp_path: Path) -> None:
    asked = [*IMAGES, f"data.root={image_root}", "model=ddpm", "model.checkpoint=null", "model.prediction=epsilon"]
    with pytest.warns(DoubtfulFitWarning, match=r"zero terminal SNR .* model\.prediction = epsilon says nothing"):
        check_settings(Run(composed(*asked, "model.process.schedule=linear_zero_snr"), tmp_path, "genuq"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DoubtfulFitWarning)
        check_settings(Run(composed(*asked), tmp_path, "genuq"))
