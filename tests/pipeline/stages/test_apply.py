"""The stage `apply`: every application in a run, its place in the results, resumption, refusals."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from genuq import data, files
from genuq.applications import APPLICATIONS, Filter, Space, asked, attempt, calibrated_rise, fit_witness, rectify_run
from genuq.errors import ArtefactError, ConfigurationError
from genuq.models import to_unit
from genuq.pipeline import preflight
from genuq.pipeline.configured import architecture_of, build_sampler, open_model, training_set
from genuq.pipeline.configured_judging import build_likelihood, named_extractor
from genuq.pipeline.posteriors import load_posterior
from genuq.pipeline.run import Run
from genuq.pipeline.stages import applications
from genuq.pipeline.stages.apply import MovedCutWarning, apply_inputs, check_application, taken_cut
from genuq.pipeline.stages.propagate import default_propagator
from support.small_runs import IMAGES, POINTS, composed, copied, launch, run_of

APPLYING = "stages=[train,judge,fit,sample,embed,score,evaluate,apply]"
REPORTING = APPLYING.replace("apply", "apply,report")
SETTINGS = {
    "filter": ["application.per_class=true"],
    "best_of_n": ["application.n=3"],
    "augment": ["application.samples=10", "application.candidates=2", "application.cut=0.5"],
    "rectify": [
        *("application.candidates=2", "application.cut=0.5", "application.failed=0.5", "application.hold=true"),
        *("application.failed_by=score", "application.witnesses=[pixels,efficientnet]"),
        *("application.witness_images=30", "application.rise=0.001"),
    ],
    "guide": ["application.samples=10", "application.renoisings=2"],
}
LAST = list(SETTINGS)[-1]


@pytest.fixture(scope="module")
def applied(images_run: Path, image_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run after another in the same folder: everything upstream of the application is reused."""
    assert set(SETTINGS) == set(APPLICATIONS)
    root = tmp_path_factory.mktemp("applied")
    folder = copied(images_run, root / "run")
    for name in SETTINGS:
        launch(folder, *arguments(image_root, name))
        shutil.copytree(folder / "apply", root / name / "apply")
    launch(folder, *arguments(image_root, LAST, REPORTING))
    return root


def arguments(image_root: Path, name: str, *more: str) -> list[str]:
    whose = "posterior=exact_laplace"  # of all, so that they share what is upstream
    return [*IMAGES, whose, f"data.root={image_root}", APPLYING, f"application={name}", *SETTINGS[name], *more]


def entry(folder: Path) -> dict:
    return files.read_json(folder / "apply" / "application.json")


NUMBERS = {
    *("measure", "value", "low", "high", "control_value", "control_low", "control_high"),
    *("difference", "difference_low", "difference_high", "n"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_leaves_the_contract(applied: Path, name: str) -> None:
    found = entry(applied / name)
    assert found["name"] == name and found["sentence"].endswith(".")
    assert found["settings"]["name"] == name and found["judge"] == "judge"
    assert found["outcome"], found["notes"]
    for row in found["outcome"]:
        assert set(row) == NUMBERS
        assert row["low"] <= row["value"] <= row["high"]
        assert row["control_low"] <= row["control_value"] <= row["control_high"]
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
        assert row["difference"] == pytest.approx(row["value"] - row["control_value"], abs=1e-9)
    text = (applied / name / "apply" / "application.md").read_text()
    assert found["sentence"] in text and f"application={name}" in text
    assert not (applied / name / "apply" / "parts").exists()
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("name", SETTINGS)
def test_examples_are_images_with_what_the_judge_says(applied: Path, name: str) -> None:
    examples, _ = files.read_tensors(applied / name / "apply" / "examples.safetensors")
    count = entry(applied / name)["examples"]["count"]
    assert count == len(examples["index"]) > 0
    for part in ("before", "after", "control"):
        assert examples[part].shape == (count, 1, 16, 16) and examples[part].dtype == torch.uint8
        assert examples[f"{part}_judged"].shape == (count,)
    assert ("mask" in examples) == (name in ("rectify", "guide"))


def test_rectify_takes_the_least_trusted_and_leaves_the_rest_of_them_alone(applied: Path) -> None:
    scores, _ = files.read_tensors(applied / "run" / "score" / "scores.safetensors")
    examples, _ = files.read_tensors(applied / "rectify" / "apply" / "examples.safetensors")
    failed = scores["entropy"].argsort(descending=True)[:12].tolist()
    accepted = examples["accepted"].bool()
    assert 0 < accepted.sum() < 12 and accepted.tolist() == sorted(accepted.tolist(), reverse=True)
    assert sorted(examples["index"].tolist()) == sorted(failed)
    for shown in (examples["index"][accepted].tolist(), examples["index"][~accepted].tolist()):
        assert shown == sorted(shown, key=failed.index)
    assert int(accepted.sum()) == entry(applied / "rectify")["settings"]["accepted"]
    assert int(examples["control_accepted"].sum()) == entry(applied / "rectify")["settings"]["control_accepted"]
    outside = ~examples["mask"].bool()
    assert outside.any() and (examples["before"] == examples["after"])[outside].all()
    change = next(row for row in entry(applied / "rectify")["outcome"] if row["measure"] == "change_outside")
    assert change["value"] == change["control_value"] == 0


def test_rectify_may_take_those_in_which_the_witnesses_see_least_of_the_class(
    applied: Path, image_root: Path, tmp_path: Path
) -> None:
    folder = copied(applied / "run", tmp_path / "run")
    asking = ["application.failed_by=witnesses", "application.rise=null", "application.sure=0.9"]
    launch(folder, *arguments(image_root, "rectify", *asking))
    run = run_of(folder, *arguments(image_root, "rectify", *asking))
    real = data.subset(training_set(run), 30, run.config.seed)
    images, labels = real.batch(range(30))
    samples = [files.read_tensors(path)[0] for path in sorted((folder / "sample").glob("shard-*"))]
    made, classes = (torch.cat([shard[name] for shard in samples]) for name in ("image", "class"))
    spaces = []
    for name in ("pixels", "efficientnet"):
        extractor = named_extractor(run, name)
        witness = fit_witness(extractor.extract(to_unit(images)), labels, training_set(run).num_classes)
        spaces.append(Space(name, lambda x, extractor=extractor: extractor.extract(to_unit(x)), witness))
    asked_WN = asked(spaces, made, classes)
    failed = asked_WN.sigmoid().log().sum(0).argsort()[:12]
    examples, _ = files.read_tensors(folder / "apply" / "examples.safetensors")
    assert sorted(examples["index"].tolist()) == sorted(failed.tolist())
    found = entry(folder)
    posterior, likelihood = load_posterior(run.path("fit"), open_model(run)), build_likelihood(run)
    propagator = default_propagator("trajectory", 5)
    how, indices = applications.application_settings(run), failed.tolist()
    made = attempt(
        open_model(run), posterior, likelihood, build_sampler(run), indices, how, 5, propagator, run.config.seed
    )
    asked_of_all = torch.cat([asked_WN, asked(spaces, made.ours, classes[failed]).flatten(1)], 1)
    promised = calibrated_rise(asked_of_all, torch.cat([classes, classes[failed].repeat_interleave(2)]), 0.9)
    assert found["settings"]["expected_success"] == pytest.approx(promised.sure)
    assert set(found["settings"]["witness_accuracy"]) == {"pixels", "efficientnet"}
    if math.isinf(promised.rise):
        assert found["settings"]["accepted"] == 0 and "promises 90% real improvements" in found["notes"][-1]
    else:
        assert found["settings"]["rise"] == promised.rise


def test_filter_counts_what_the_library_keeps(applied: Path) -> None:
    samples = [files.read_tensors(path)[0] for path in sorted((applied / "run" / "sample").glob("shard-*"))]
    scores, _ = files.read_tensors(applied / "run" / "score" / "scores.safetensors")
    kept = Filter(fraction=0.75, per_class=True).keep(scores["entropy"], torch.cat([s["class"] for s in samples]))
    assert entry(applied / "filter")["settings"]["kept"] == len(kept) == 18


def test_guide_says_what_was_counted(applied: Path) -> None:
    """Two Euler steps, the window [0.4, 0.8] of them is the second: 2 + 2 evaluations, against 4 steps."""
    settings = entry(applied / "guide")["settings"]
    assert settings["evaluations"] == settings["control_evaluations"] == 4


def test_the_results_carry_the_application(applied: Path) -> None:
    results = files.read_json(applied / "run" / "report" / "results.json")
    assert results["application"] == entry(applied / LAST)
    assert (applied / "run" / "report" / "plots" / "examples.png").exists()
    page = (applied / "run" / "report" / "index.html").read_text()
    assert 'id="application"' in page and "Example 1: after" in page


def test_without_an_application_nothing_is_left(images_run: Path, image_root: Path, tmp_path: Path) -> None:
    folder = copied(images_run, tmp_path / "run")
    launch(folder, *IMAGES, f"data.root={image_root}", APPLYING)
    assert not (folder / "apply").exists()
    assert files.read_json(folder / "report" / "results.json")["application"] is None


def test_points_are_filtered_chosen_and_augmented(points_run: Path, tmp_path: Path) -> None:
    folder = copied(points_run, tmp_path / "points")
    points = [*POINTS, "stages=[train,fit,sample,embed,score,evaluate,apply]"]
    for name in ("filter", "best_of_n", "augment"):
        more = ["application.samples=8", f"application.cut={2 / 3}"] if name == "augment" else []
        launch(folder, *points, f"application={name}", *more)
        assert entry(folder)["outcome"][0]["measure"] == "good"


def test_a_cut_between_two_times_is_told(images_run: Path, image_root: Path) -> None:
    given = {cut: arguments(image_root, "augment", f"application.cut={cut}") for cut in (0.5, 0.505, 0.8)}
    runs = {cut: run_of(images_run, *words) for cut, words in given.items()}
    known = {cut: (architecture_of(run), build_sampler(run), apply_inputs(run).settings) for cut, run in runs.items()}
    assert [taken_cut(*known[cut]) for cut in runs] == [None, None, 0.5]
    with pytest.warns(MovedCutWarning, match=r"The cut t = 0\.8 is no time of the sampler's grid.* 0\.5, is taken"):
        check_application(runs[0.8])


def test_a_killed_application_goes_on_and_ends_the_same(
    applied: Path, image_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(applied / "run", tmp_path / "run")
    shutil.rmtree(folder / "store" / "apply")
    original, calls = rectify_run.attempt, []

    def dying(*args, **options):
        calls.append(args[4])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*args, **options)

    monkeypatch.setattr(rectify_run, "attempt", dying)
    with pytest.raises(KeyboardInterrupt):
        launch(folder, *arguments(image_root, "rectify"))
    assert [path.name for path in (folder / "apply" / "parts").iterdir()] == ["part-0000000.safetensors"]
    launch(folder, *arguments(image_root, "rectify"))
    assert [len(indices) for indices in calls] == [8, 4, 4]
    for name in ("application.json", "examples.safetensors"):
        assert (folder / "apply" / name).read_bytes() == (applied / "rectify" / "apply" / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        (
            "filter",
            ["application.count=3"],
            r"application\.fraction = 0\.75, application\.count = 3: give exactly one",
        ),
        ("filter", ["application.fraction=1.5"], r"application\.fraction = 1\.5"),
        ("best_of_n", ["application.n=1"], r"application\.n = 1; at least 2 is needed"),
        ("best_of_n", ["application.n=13"], r"application\.n = 13, but no class has more than 12 of 24"),
        ("augment", ["application.samples=100"], r"application\.samples = 100, but the run has sampler\.samples = 24"),
        ("augment", ["application.cut=1.0"], r"application\.cut = 1 is the start of the grid"),
        ("augment", ["application.cut=0.0"], r"application\.cut = 0\.0; it must lie in \(0, 1\]"),
        ("augment", ["application.propagator=trajektory"], r"'trajektory' does not exist.*'trajectory'"),
        (
            "augment",
            ["posterior=mc_dropout", "network.dropout=0.1"],
            r"application\.propagator = 'trajectory' needs a closed-form.*coherent",
        ),
        ("augment", ["application.spread=0"], r"application\.spread = 0"),
        ("rectify", ["application.failed=0"], r"application\.failed = 0"),
        ("rectify", ["application.region=0"], r"application\.region = 0"),
        ("rectify", ["application.margin=-1"], r"application\.margin = -1"),
        ("rectify", ["application.rule=scores"], r"application\.rule = 'scores'; choose .*Did you mean 'score'"),
        ("rectify", ["application.failed_by=judge"], r"application\.failed_by = 'judge'; choose score or witnesses"),
        ("rectify", ["application.noise=fresh"], r"application\.noise = 'fresh'; choose renewed or added"),
        ("rectify", ["application.witness_images=1"], r"application\.witness_images = 1; at least 2"),
        ("rectify", ["model.class_conditional=false"], r"application\.rule = witnesses asks .* the model knows none"),
        ("guide", ["application.window=[0.5,0.2]"], r"application\.window = \[0\.5, 0\.2\]"),
        ("guide", ["application.renoisings=1"], r"application\.renoisings = 1; at least 2"),
    ],
)
def test_what_cannot_work_is_said_before_any_work(
    name: str, overrides: list[str], message: str, image_root: Path, tmp_path: Path
) -> None:
    config = composed(*arguments(image_root, name, *overrides))
    with pytest.raises(ConfigurationError, match=message):
        preflight.check(Run(config, tmp_path, "genuq"))


def test_pixels_are_not_asked_of_points(tmp_path: Path) -> None:
    config = composed(*POINTS, "stages=[train,fit,sample,embed,score,evaluate,apply]", "application=rectify")
    with pytest.raises(ConfigurationError, match=r"application=rectify needs images, not .*augment, best_of_n, filter"):
        preflight.check(Run(config, tmp_path, "genuq"))


def test_a_report_asks_for_the_application_that_it_shows(images_run: Path, image_root: Path, tmp_path: Path) -> None:
    folder = copied(images_run, tmp_path / "run")
    with pytest.raises(ArtefactError, match=r"stage 'report' needs 'apply'"):
        launch(folder, *IMAGES, f"data.root={image_root}", "application=filter")
