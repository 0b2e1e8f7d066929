"""Every posterior in a run, and several side by side: their files, draws, columns, costs and refusals."""

import shutil
from pathlib import Path

import pytest
import torch

from genuq import files, posteriors
from genuq.errors import ConfigurationError
from genuq.pipeline.configured import open_model
from genuq.pipeline.execute import preflight  # registers the stages
from genuq.pipeline.run import Run
from genuq.pipeline.stages.sample import read_samples
from support.small_runs import POINTS, composed, copied, launch, run_of

SMALL = ["posterior.images=60", "posterior.held_out=30"]
OPTIONS = {
    "mc_dropout": ["posterior.layers=[head]", "posterior.rate=0.2"],
    "isotropic_network": ["posterior.relative_perturbation=0.05"],
    "posthoc_ensemble": ["posterior.members=2", "posterior.steps=3"],
    "deep_ensemble": ["posterior.members=2", "posterior.steps=3"],
    "swag": ["posterior.members=4", "posterior.steps=8", "posterior.rank=2"],
    "ivon": ["posterior.steps=3", "posterior.mc_samples=3"],
}
BESIDE = [
    "posterior=exact_laplace",
    "+posterior@beside.all_layers=kfac",
    "+posterior@beside.noise=isotropic_network",
    "beside.all_layers.images=60",
    "beside.all_layers.held_out=30",
    "beside.all_layers.draws=3",
    "beside.noise.match=all_layers",
]


@pytest.mark.parametrize("kind", posteriors.POSTERIORS)
def test_every_posterior_is_fitted_and_drawn_from(kind: str, points_run: Path, tmp_path: Path) -> None:
    copied(points_run, tmp_path)
    overrides = [*POINTS, f"posterior={kind}", *SMALL, *OPTIONS.get(kind, []), "posterior.draws=2"]
    if kind == "map":  # draws of which tell nothing apart
        overrides += ["score=trajectory_variance", "score.also=[]"]
    launch(tmp_path, *overrides, "stages=[train,fit,sample]")
    run = run_of(tmp_path, *overrides)
    samples = read_samples(run.path("sample"))
    moved = (samples["draws"] - samples["image"][:, None]).abs() if kind != "map" else torch.zeros(40, 2)
    assert moved.shape[:2] == (40, 2)
    notes = files.read_json(tmp_path / "fit" / "manifest.json")["notes"]["posteriors"]["draws"]
    size = notes["scale"]["relative_perturbation"]
    assert notes["kind"] == kind and (moved.amax() > 0) == (size > 0) == (kind != "map")
    loaded = posteriors.load(tmp_path / "fit" / "posterior.safetensors", open_model(run))
    assert loaded.kind == kind and loaded.relative_perturbation() == pytest.approx(size)


@pytest.fixture(scope="module")
def side_by_side(points_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("beside")
    copied(points_run, folder)
    launch(folder, *POINTS, *BESIDE, "stages=[train,fit,sample,embed,score,evaluate,report]")
    return folder


def test_posteriors_side_by_side_share_samples_judge_and_report(side_by_side: Path) -> None:
    results = files.read_json(side_by_side / "report" / "results.json")
    assert [entry["label"] for entry in results["posteriors"]] == ["exact_laplace", "all_layers", "noise"]
    kinds = {row["name"]: row["kind"] for row in results["scores"]}
    assert kinds["all_layers"] == "score" and kinds["noise"] == "control"
    labels = {row["name"]: row["label"] for row in results["scores"]}
    assert labels["all_layers"].endswith("all layers") and next(iter(kinds)) == results["config"]["score"]["name"]
    draws = {entry["label"]: (entry["draws"], len(entry["quality"]["fid_draws"])) for entry in results["posteriors"]}
    assert draws["all_layers"] == (3, 3)


def test_the_scale_says_by_which_criterion(side_by_side: Path) -> None:
    own, other, noise = files.read_json(side_by_side / "report" / "results.json")["posteriors"]
    assert own["scale"]["criterion"] == "evidence" and own["evidence"] and own["predictive"] is None
    assert other["scale"]["criterion"] == "predictive" and len(other["predictive"][0]) == len(other["predictive"][1])
    assert noise["scale"]["criterion"] == "match" and "all_layers" in noise["scale"]["how"]["prior_precision"]


def test_matched_noise_moves_every_tensor_as_much(side_by_side: Path) -> None:
    run = run_of(side_by_side, *POINTS, *BESIDE)
    lent, noise = (
        posteriors.load(side_by_side / "fit" / f"{name}.safetensors", open_model(run))
        for name in ("all_layers", "noise")
    )
    wanted, found = lent.squared_deviations(), noise.squared_deviations()
    assert wanted.keys() == found.keys()
    assert all(found[name] == pytest.approx(wanted[name], rel=1e-6) for name in wanted)
    name = max(wanted, key=lambda key: lent.covered()[key].numel())
    trained = lent.covered()[name].detach()
    moved = torch.stack([noise.draw(index)[name] - trained for index in range(30)])
    assert float(moved.square().mean()) == pytest.approx(wanted[name], rel=0.2)


def test_network_noise_takes_the_size_of_a_posterior_over_the_head(points_run: Path, tmp_path: Path) -> None:
    copied(points_run, tmp_path)
    overrides = [*POINTS, "posterior=exact_laplace", "+posterior@beside.noise=isotropic_network"]
    overrides += ["beside.noise.match=posterior", "stages=[train,fit,sample]"]
    launch(tmp_path, *overrides)
    run = run_of(tmp_path, *overrides)
    head = posteriors.load(tmp_path / "fit" / "posterior.safetensors", open_model(run))
    noise = posteriors.load(tmp_path / "fit" / "noise.safetensors", open_model(run))
    assert noise.squared_deviations().keys() == {"head.weight", "head.bias"}
    assert noise.squared_deviations()["head.weight"] == pytest.approx(head.squared_deviations()["weight"], rel=1e-6)


def test_what_knows_no_data_needs_no_images_and_claims_no_criterion(points_run: Path, tmp_path: Path) -> None:
    copied(points_run, tmp_path)
    dropout = ["posterior=mc_dropout", "posterior.layers=[head]", "posterior.rate=0.2", "posterior.images=100000"]
    launch(tmp_path, *POINTS, *dropout, "stages=[train,fit]")
    notes = files.read_json(tmp_path / "fit" / "manifest.json")["notes"]["posteriors"]["draws"]
    assert notes["scale"]["criterion"] == "given" and notes["evidence"] is None and notes["scale"]["n_seen"] == 0


def test_a_finished_posterior_is_not_fitted_again(side_by_side: Path, tmp_path: Path) -> None:
    """As after a crash in the midst of a fit: one posterior is there, one is lost."""
    copy = copied(side_by_side, tmp_path / "copy")
    before = {name: (copy / "fit" / f"{name}.safetensors").read_bytes() for name in ("posterior", "all_layers")}
    parts = {files.read_json(part / "manifest.json")["notes"]["kind"]: part for part in posterior_artefacts(copy)}
    age = (parts["exact_laplace"] / "posterior.safetensors").stat().st_mtime_ns
    shutil.rmtree(parts["kfac"])
    shutil.rmtree((copy / "fit").resolve())
    launch(copy, *POINTS, *BESIDE, "stages=[fit]", "model.checkpoint=null")
    assert {name: (copy / "fit" / f"{name}.safetensors").read_bytes() for name in before} == before
    assert (parts["exact_laplace"] / "posterior.safetensors").stat().st_mtime_ns == age
    assert len(posterior_artefacts(copy)) == len(parts)


def test_another_posterior_beside_keeps_those_that_are_fitted(side_by_side: Path, tmp_path: Path) -> None:
    copy = copied(side_by_side, tmp_path / "copy")
    before = {part.name: part.stat().st_mtime_ns for part in posterior_artefacts(copy)}
    launch(copy, *POINTS, *BESIDE, "+posterior@beside.more=map", "stages=[train,fit]")
    after = {part.name: part.stat().st_mtime_ns for part in posterior_artefacts(copy)}
    assert len(after) == len(before) + 1 and after.items() >= before.items()


def posterior_artefacts(folder: Path) -> list[Path]:
    return [path for path in (folder / "store" / "posterior").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["+posterior@beside.noise=isotropic_network"], r"beside\.noise: isotropic noise has no likelihood"),
        (
            ["+posterior@beside.noise=isotropic_network", "beside.noise.match=exakt"],
            r"beside\.noise\.match: 'exakt' is no posterior of this run.*posterior",
        ),
        (
            [
                "+posterior@beside.k=kfac",
                "+posterior@beside.n=isotropic",
                *(f"beside.{name}.{key}=30" for name in "kn" for key in ("images", "held_out")),
                "beside.n.match=k",
            ],
            r"beside\.n\.match: 'k' moves other layers than the head",
        ),
        (["+posterior@beside.draws=map"], r"beside\.draws: this name means something else"),
        (["+posterior@beside.posterior=map"], r"beside\.posterior: this name means something else"),
        (["+posterior@beside.m=map", "beside.m.held_out=500"], r"beside\.m\.held_out = 501, but"),
        (["+posterior@beside.entropy=kfac"], r"beside\.entropy: this name means something else"),
        (["posterior=deep_ensemble", "posterior.draws=9"], r"posterior\.draws = 9, but the ensemble has 5 members"),
        (["+posterior@beside.kfac=kfac", "beside.kfac.images=4000"], r"beside\.kfac\.images \+ beside\.kfac\.held_out"),
        (["posterior=exact_laplace", "posterior.criterion=best"], r"posterior\.criterion = 'best'"),
        (
            ["+posterior@beside.map=map", "beside.map.draws=1"],
            r"beside\.map\.draws = 1; at least 2",
        ),
    ],
)
def test_what_cannot_stand_side_by_side_is_refused_before_any_work(
    overrides: list[str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        preflight.check(Run(composed(*POINTS, *overrides), tmp_path, "genuq"))
