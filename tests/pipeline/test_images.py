"""Images of a folder through the store: the library's scores, made once for each image, whatever befalls the call."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console

import genuq
from genuq import files
from genuq.data.loose_images import LooseImages
from genuq.display import Display
from genuq.errors import ArtefactError, ConfigurationError, DataError
from genuq.pipeline import images as work
from genuq.pipeline.configured import open_model
from genuq.pipeline.posteriors import load_posterior
from genuq.pipeline.run import Run
from genuq.scores import ImageScores
from support.small_runs import IMAGES, composed, copied, run_of

CHOSEN = ["score.name=lid", "score.also=[entropy,renoised_disagreement,class_margin]", "score.probe_noisings=2"]
QUIET = Display(Console(quiet=True))


@pytest.fixture(scope="module")
def trained(images_run: Path, image_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, which the tests of this file add images to; none reads what another scored."""
    return copied(images_run, tmp_path_factory.mktemp("trained") / "images")


@pytest.fixture
def pictures(image_root: Path, tmp_path: Path) -> Path:
    """Nine images in folders of their classes."""
    for name, count in (("bottom", 5), ("top", 4)):
        for number in range(count):
            target = tmp_path / "left" / name / f"{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(image_root / "test" / name / f"{number:03d}.png", target)
    return tmp_path / "left"


def run_in(folder: Path, image_root: Path, *overrides: str, store: Path | None = None) -> Run:
    """A run as the command has it; by default with the store of the finished one."""
    base = [text for text in IMAGES if not text.startswith("score.also")]
    given = [f"store={store or folder / 'store'}", *base, f"data.root={image_root}", *CHOSEN, *overrides]
    run = Run(composed(*given), folder, "genuq images")
    work.choose_scores(run)
    return run


def scored(run: Run, pictures: Path) -> ImageScores:
    work.check(run)
    model = open_model(run)
    return work.score_folder(run, LooseImages(pictures, model.shape, work.class_names(run)), QUIET)


def batches(run: Run) -> set[Path]:
    return set((run.store / work.STAGE).glob("*/manifest.json"))


def posteriors_of(run: Run) -> set[Path]:
    return set((run.store / "posterior").glob("*/manifest.json"))


def test_they_are_the_librarys_scores_and_the_runs_posterior_is_not_fitted_again(trained, image_root, pictures) -> None:
    run = run_in(trained, image_root)
    before = posteriors_of(run)
    found = scored(run, pictures)
    assert posteriors_of(run) == before != set()
    model = open_model(run)
    posterior = load_posterior(run_of(trained, *IMAGES, f"data.root={image_root}").path("fit"), model)
    dataset = LooseImages(pictures, model.shape, work.class_names(run))
    assert dataset.labels.tolist() == [0] * 5 + [1] * 4
    names = {name: {"noisings": 2} for name in ("lid", "renoised_disagreement", "class_margin")}
    pixels = dataset.pixels(range(9))
    wanted = genuq.score_images(model, posterior, pixels, dataset.labels, names, run.config.seed, draws=2)
    assert list(found.scores) == list(names) and found.costs == wanted.costs and found.evaluations == wanted.evaluations
    for name, values in wanted.scores.items():
        torch.testing.assert_close(found.scores[name], values, rtol=1e-3, atol=1e-7)


def test_only_new_images_are_scored_and_others_keep_their_numbers(trained, image_root, pictures) -> None:
    run = run_in(trained, image_root, "score.lid_times=[0.11]", "posterior=map", "score.also=[]")
    first, made = scored(run, pictures), batches(run)
    assert len(first.scores["lid"]) == 9 and list(first.scores) == ["lid"]
    again = run_in(
        trained, image_root, "score.lid_times=[0.11]", "posterior=map", "score.also=[]", "sampler.batch_size=2"
    )
    assert torch.equal(scored(again, pictures).scores["lid"], first.scores["lid"]) and batches(again) == made
    shutil.copy(pictures / "top" / "0.png", pictures / "top" / "00.png")  # the same image
    with Image.open(pictures / "top" / "1.png") as image:
        image.point(lambda value: 255 - value).save(pictures / "bottom" / "new.png")
    grown, (new,) = scored(again, pictures).scores["lid"], batches(again) - made
    settings = files.read_json(new)["made_from"]["settings"]
    assert (len(settings["images"]), settings["classes"]) == (1, [0])
    assert torch.equal(grown[[0, 1, 2, 3, 4, 6, 8, 9, 10]], first.scores["lid"]) and grown[7] == grown[6]
    shutil.copy(pictures / "top" / "0.png", pictures / "bottom" / "asked_otherwise.png")
    other = scored(again, pictures).scores["lid"]
    assert float(other[5]) != float(grown[6]) and len(batches(again) - made) == 2


def test_a_killed_call_goes_on_and_ends_with_the_same_numbers(trained, image_root, pictures, tmp_path, monkeypatch):
    options = ["sampler.batch_size=2", "posterior=map", "score.also=[self_confidence]"]
    whole = scored(run_in(trained, image_root, *options), pictures)
    store = Path(shutil.copytree(trained / "store", tmp_path / "store", symlinks=True))
    shutil.rmtree(store / work.STAGE)
    run, score_batch, calls = run_in(trained, image_root, *options, store=store), work.score_batch, []

    def killed(*given):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return score_batch(*given)

    monkeypatch.setattr(work, "score_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        scored(run, pictures)
    assert len(batches(run)) == 2
    found = scored(run, pictures)
    assert len(calls) == 3 + 3  # five batches
    for name, values in whole.scores.items():
        assert torch.equal(found.scores[name], values)


def test_scores_are_the_runs_own_of_finished_images_or_those_that_need_no_name(trained, image_root) -> None:
    assert work.choose_scores(run_in(trained, image_root)) == []
    run = Run(composed(*IMAGES, f"data.root={image_root}", f"store={trained}/store"), trained, "genuq images")
    assert work.choose_scores(run) == []  # it named none of finished images
    assert [run.config.score.name, *run.config.score.also] == [
        *("renoised_disagreement", "lid", "self_confidence", "class_margin")
    ]
    assert list(run.config.stages) == ["train", "fit", "probe"]
    run = Run(composed(*IMAGES, *CHOSEN, f"data.root={image_root}"), trained, "genuq images")
    assert work.choose_scores(run) == ["entropy", *run_in_controls(image_root)]


def test_what_a_pilot_would_choose_is_said_to_be_left_out(trained, image_root) -> None:
    """It draws samples of its own to choose by, which say nothing of images from elsewhere."""
    run = Run(composed(*IMAGES, f"data.root={image_root}", "score.budget=1.5"), trained, "genuq images")
    assert "score.budget" in work.choose_scores(run) and run.config.score.budget is None


def run_in_controls(image_root: Path) -> list[str]:
    """The default controls, of which none is of finished images noised again."""
    return list(composed(*IMAGES, *CHOSEN, f"data.root={image_root}").score.controls)


def test_what_is_missing_or_broken_is_named_before_any_work(trained, image_root, pictures, tmp_path) -> None:
    with pytest.raises(ArtefactError, match="the stage 'train' of this configuration is not finished"):
        work.check(run_in(trained, image_root, "trainer.steps=4"))
    unfitted = run_in(trained, image_root, "trainer.devices=2", "trainer.strategy=ddp", "posterior.images=30")
    with pytest.raises(ConfigurationError, match="Fit it first"):
        work.check(unfitted)
    with pytest.raises(ConfigurationError, match=r"renoised_disagreement.*posterior = 'map'"):
        work.check(run_in(trained, image_root, "posterior=map"))
    (pictures / "top" / "3.png").write_bytes(b"no image")
    run = run_in(trained, image_root, "score.lid_times=[0.12]")
    before = posteriors_of(run)
    with pytest.raises(DataError, match=r"1 of 9 images.*\n.*3\.png is damaged"):
        scored(run, pictures)
    assert posteriors_of(run) == before


def test_an_image_that_changes_while_it_is_scored_is_noticed(trained, image_root, pictures, monkeypatch) -> None:
    run, keys_of = run_in(trained, image_root, "score.lid_times=[0.13]", "posterior=map", "score.also=[]"), work.keys_of

    def changing(*given):
        keys = keys_of(*given)
        shutil.copy(pictures / "top" / "1.png", pictures / "top" / "0.png")
        return keys

    monkeypatch.setattr(work, "keys_of", changing)
    with pytest.raises(DataError, match="are being changed"):
        scored(run, pictures)


def test_an_altered_batch_is_named_not_read(trained, image_root, pictures) -> None:
    run = run_in(trained, image_root, "score.lid_times=[0.14]", "posterior=map", "score.also=[]")
    before = batches(run)
    scored(run, pictures)
    (new, *_) = batches(run) - before
    with open(new.parent / work.SCORED, "ab") as file:
        file.write(b"x")
    with pytest.raises(ArtefactError, match="truncated or was altered"):
        scored(run, pictures)
    shutil.rmtree(new.parent)
    scored(run, pictures)
