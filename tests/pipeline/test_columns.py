"""Any score by name: what the sampler must watch is watched, the run's own score leads, and costs are counted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq import files
from genuq.errors import ConfigurationError
from genuq.models import sample
from genuq.pipeline import preflight
from genuq.pipeline.columns import watched_inputs, watchers
from genuq.pipeline.configured import build_sampler, open_model, untrained_model
from genuq.pipeline.run import Run
from genuq.scores import SCORES, watch
from support.small_runs import IMAGES, POINTS, composed, copied, launch, run_of

BASELINES = SCORES.names(source="trajectory")

BESIDE = [
    "score=entropy_beside_baselines",
    "score.controls=[random,jitter,isotropic]",
    "score.probes=2",
    "+posterior@beside.plain=diagonal_laplace",
    *("beside.plain.draws=4", "beside.plain.images=100", "beside.plain.held_out=50"),
]
ALEATORIC = ["score=aleatoric", "score.also=[rarity]", "score.window=[0.5,1.0]"]


@pytest.fixture(scope="module")
def beside(points_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on the mixture again, with every baseline and another posterior beside its score."""
    folder = copied(points_run, tmp_path_factory.mktemp("beside") / "points")
    launch(folder, *POINTS, *BESIDE)
    return folder


def table(folder: Path) -> dict[str, dict]:
    return {row["name"]: row for row in files.read_json(folder / "evaluate" / "evaluation.json")["scores"]}


def test_columns_are_the_librarys_scores_of_the_samples_that_the_run_shows(beside: Path) -> None:
    run = run_of(beside, *POINTS, *BESIDE)
    found = watch(
        open_model(run),
        build_sampler(run),
        range(40),
        {name: watchers(watched_inputs(run))[name] for name in BASELINES},
    )
    columns, _ = files.read_tensors(beside / "score" / "scores.safetensors")
    for name in BASELINES:
        assert columns[name].dtype == torch.float64
        torch.testing.assert_close(columns[name], found.scores[name], rtol=1e-4, atol=1e-5)
    shards = [files.read_tensors(path)[0] for path in sorted((beside / "sample").glob("shard-*"))]
    assert torch.equal(
        torch.cat([shard["image"] for shard in shards]), sample(open_model(run), build_sampler(run), range(40))
    )


def test_costs_are_those_counted(beside: Path) -> None:
    """Three Euler steps, two draws of each kind, four of the posterior beside; AU looks at one step; likelihood takes
    41 evaluations and 21 x 2 back.
    """
    spent = {name: row["evaluations_per_sample"] for name, row in table(beside).items()}
    assert spent == {
        **{"entropy": 6, "trace": 6, "jitter": 6, "isotropic": 6, "random": 0, "realism": 0, "rarity": 0},
        "plain": 12,
        **{"aleatoric": 5, "trajectory_variance": 0, "divergence": 9, "likelihood": 83},
    }


def test_kinds_and_order(beside: Path) -> None:
    rows = table(beside)
    assert next(iter(rows)) == "entropy"
    kinds = {name: row["kind"] for name, row in rows.items()}
    assert kinds.pop("plain") == "score"
    assert kinds == {name: SCORES[name].kind for name in kinds}
    order = list(dict.fromkeys(row["kind"] for row in rows.values()))
    assert order == ["score", "baseline", "control", "oracle"]


def test_baselines_leave_the_samples_as_they_were(points_run: Path, beside: Path) -> None:
    for path in sorted((points_run / "sample").glob("shard-*")):
        before, after = (files.read_tensors(run / "sample" / path.name)[0] for run in (points_run, beside))
        for name in ("image", "draws", "jitter"):
            assert torch.equal(before[name], after[name])


def test_a_baseline_can_be_what_a_run_is_about(images_run: Path, image_root: Path, tmp_path: Path) -> None:
    folder = copied(images_run, tmp_path / "images")
    launch(folder, *IMAGES, f"data.root={image_root}", *ALEATORIC)
    results = files.read_json(folder / "report" / "results.json")
    assert results["summary"]["sentence"].startswith("Aleatoric variance (AU)")
    assert next(iter(table(folder))) == "aleatoric"
    scores, _ = files.read_tensors(folder / "score" / "scores.safetensors")
    assert not scores["rarity"].isnan().any()
    before, _ = files.read_tensors(images_run / "score" / "scores.safetensors")
    torch.testing.assert_close(scores["jitter"], before["jitter"])  # the controls' functional stays the entropy


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["score=complexity"], r"score\.name: 'complexity' needs images"),
        (["score.also=[direct_noise]"], r"score\.also: 'direct_noise' needs images"),
        (["score.also=[aleatorik]"], r"score\.also: 'aleatorik' does not exist.*'aleatoric'"),
        (["score.controls=[aleatoric]"], r"score\.controls: 'aleatoric' does not exist"),
        (["score=trajectory_variance", "sampler.steps=1"], r"sampler\.steps = 1; this score compares at least 2 steps"),
        (["score=aleatoric", "score.renoisings=1"], r"score\.renoisings = 1"),
        (["score=divergence", "score.probes=0"], r"score\.probes = 0"),
        (["score=likelihood", "score.likelihood_steps=0"], r"score\.likelihood_steps = 0"),
        (["score=divergence", "score.window=[0.5,0.2]"], r"score\.window = \[0\.5, 0\.2\]; each entry must be above"),
        (["score=divergence", "score.window=[0.5]"], r"score\.window = \[0\.5\]; exactly 2 entries"),
    ],
)
def test_what_cannot_work_is_said_before_the_training(overrides: list[str], message: str, tmp_path: Path) -> None:
    points = [*POINTS, "score.controls=[random,jitter]"]
    with pytest.raises(ConfigurationError, match=message):
        preflight.check(Run(composed(*points, *overrides), tmp_path, "genuq"))


@pytest.mark.parametrize("name", SCORES)
def test_every_score_is_an_option(name: str, image_root: Path, tmp_path: Path) -> None:
    weak = {"weak_model_gap": [f"score.weak_checkpoint={tmp_path}/early.safetensors"]}
    stages = "stages=[train,judge,fit,sample,probe,propagate,embed,score]"
    chosen = [f"data.root={image_root}", f"score={name}", stages, *weak.get(name, [])]
    run = Run(composed(*IMAGES, *chosen), tmp_path, "genuq")
    files.write_tensors(tmp_path / "early.safetensors", untrained_model(run).network.state_dict())
    preflight.check(run)
    assert run.config.score.name == name
