"""What a plan says a run will do, beside what the run then did: evaluations of the network, and bytes of its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from genuq.models import GenerativeModel
from genuq.pipeline import preflight
from genuq.pipeline.columns import SPENT
from genuq.pipeline.stages import train
from genuq.pipeline.stages.probe import ALL as PROBED
from genuq.planning.costs import work_of
from genuq.planning.planned import PlannedRun
from genuq.planning.work import Work
from genuq.posteriors.fitting import doubts
from genuq.scores.baselines.watching import PATH
from genuq.store.shards import read_shards
from support.planned_runs import planned
from support.small_pipelines import saved
from support.small_runs import COMMON, EVALUATION, IMAGES, POINTS, copied, launch, run_of

FIT = ["posterior.images=60", "posterior.held_out=30", "posterior.draws=2", "stages=[train,fit]"]
POSTERIORS = {
    "exact_laplace": ["posterior.time_bins=2", "posterior.criterion=predictive"],
    "kfac": [],
    "mc_dropout": ["posterior.layers=[head]", "posterior.rate=0.2"],
    "posthoc_ensemble": ["posterior.members=2", "posterior.steps=3"],
    "deep_ensemble": ["posterior.members=2", "posterior.steps=3"],
    "swag": ["posterior.members=4", "posterior.steps=8", "posterior.rank=2"],
    "ivon": ["posterior.steps=3", "posterior.mc_samples=3"],
}
WATCHED = ["score=entropy_beside_baselines", "score.controls=[random,jitter,isotropic]", "score.probes=2"]
SHARED = ["path_disagreement", "path_disagreement_semantic", "renoised_disagreement", "renoised_isotropic", "lid"]
LAST_LAYER = "posterior=exact_laplace"  # of others a check before the start asks the network for its layers
PROPAGATED = {
    "trajectory": [],
    "corrected": ["propagator.covariance=antithetic", "propagator.skip=2"],
    "coherent": ["propagator.draws=null"],
    "paper": ["propagator.states=3"],
}


class Rows:
    """Rows through any generative model, forwards and backwards, counted by torch's own hooks."""

    def __init__(self) -> None:
        self.forward, self.backward = 0, 0

    def __call__(self, module: object, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, GenerativeModel):
            self.forward += len(inputs[0])
            if output.requires_grad:
                output.register_hook(lambda gradient: self._back(len(gradient)))

    def _back(self, rows: int) -> None:
        self.backward += rows


@pytest.fixture
def rows() -> Iterator[Rows]:
    counter = Rows()
    handle = torch.nn.modules.module.register_module_forward_hook(counter)
    yield counter
    handle.remove()


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def assert_as_large(work: Work, folder: Path, few: int = 700) -> None:
    """Within 3 %, and what the lines of a manifest differ by."""
    assert work.bytes == pytest.approx(size(folder), rel=0.03, abs=few), folder


@pytest.mark.parametrize("kind", POSTERIORS)
def test_a_fit_evaluates_as_planned_and_takes_its_bytes(
    kind: str, points_run: Path, tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "check_layers_of", lambda run, settings: None)  # before any stage: no work of one
    monkeypatch.setattr(doubts, "that_fit", lambda model, batches: [])  # of this network, which is doubtful
    copied(points_run, tmp_path)
    overrides = [*POINTS, f"posterior={kind}", *FIT, *POSTERIORS[kind]]
    run = planned(tmp_path, *overrides)
    work = work_of(run, "posterior.draws")
    before = rows.forward, rows.backward
    launch(tmp_path, *overrides)
    counted = rows.forward - before[0], rows.backward - before[1]
    # over the head alone numbers are sent back through a rearrangement, which is no pass of the network
    assert (work.forward, work.backward) == (counted[0], 0 if kind == "exact_laplace" else counted[1])
    assert_as_large(work, run.path("posterior.draws"), few=1200)


@pytest.mark.parametrize("more", [[], ["trainer.early_step=3"]])
def test_a_training_and_its_checkpoints(
    more: list[str], tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoints are measured where they are removed; a new one is written beside the last."""
    overrides = [*POINTS, "trainer.checkpoint_every=2", "network.width=48", "stages=[train]", *more]
    run, passing, remove = planned(tmp_path, *overrides), [], train.shutil.rmtree
    work = work_of(run, "train")

    def measured(folder: Path | str, **options: object) -> None:
        if list(Path(folder).rglob("*.ckpt")):  # not what the check of the store's place made
            passing.append(2 * size(Path(folder)))
        remove(folder, **options)

    monkeypatch.setattr(train.shutil, "rmtree", measured)
    launch(tmp_path, *overrides)
    assert (work.forward, work.backward) == (rows.forward, rows.backward) == (5 * 32 + 400, 5 * 32)
    assert_as_large(work, run.path("train"), few=1500 * (1 + len(more)))  # the notes of each checkpoint
    assert work.passing == pytest.approx(sum(passing), rel=0.03)


@pytest.fixture(scope="module")
def watched(points_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PlannedRun, dict[str, Work], Path]:
    """A run with every baseline and a propagator; and what was planned of it."""
    folder = copied(points_run, tmp_path_factory.mktemp("watched"))
    overrides = [
        *(text for text in POINTS if not text.startswith("stages")),
        *WATCHED,
        f"score.also=[trace,aleatoric,trajectory_variance,divergence,likelihood,rarity,{','.join(SHARED)}]",
        "score.path_points=[0.0,1.0]",
        "sampler.keep_path=true",
        "propagator=coherent",
        "propagator.draws=2",
        "stages=[train,fit,sample,probe,propagate,embed,score,evaluate]",
    ]
    run = planned(folder, *overrides)
    works = {name: work_of(run, name) for name in ("sample", "probe", "propagate", "embed", "score", "evaluate")}
    launch(folder, *overrides)
    return run, works, folder


def test_sampling_baselines_and_controls_cost_what_the_meter_counted(
    watched: tuple[PlannedRun, dict[str, Work], Path],
) -> None:
    run, works, _ = watched
    columns = read_shards(run.path("sample"))
    counted = {name.removeprefix(SPENT): float(v.sum()) for name, v in columns.items() if name.startswith(SPENT)}
    alone = {name: counted.pop(name) / 40 for name in SHARED[:2]}
    assert alone == {name: 2 * 2 for name in SHARED[:2]} and counted.pop(PATH) == 40 * 2 * 2  # two points, two draws
    assert works["sample"].evaluations.pop(PATH) == (40 * 2 * 2, 0)
    purposes = {"sampling", "draws", "jitter", "isotropic", "aleatoric", "trajectory_variance", "divergence"}
    assert counted.keys() == purposes | {"likelihood"}
    assert {name: sum(both) for name, both in works["sample"].evaluations.items()} == counted
    assert works["sample"].backward == 2 * 40 * (3 + 21)  # probes, samples, points of the two baselines


def test_the_probe_costs_what_all_of_its_scores_share(watched: tuple[PlannedRun, dict[str, Work], Path]) -> None:
    """Four noisings: of two draws, of two draws of the noise and of the trained weights; and of these at another t."""
    run, works, _ = watched
    columns = read_shards(run.path("probe"))
    counted = {name: float(columns[f"{SPENT}{name}"].mean()) for name in (*SHARED[2:], PROBED)}
    assert counted == {**dict.fromkeys(SHARED[2:4], 12), "lid": 4, PROBED: 24}
    assert works["probe"].evaluations == {PROBED: (40 * 24, 0)}


def test_propagation_costs_what_its_shards_say(watched: tuple[PlannedRun, dict[str, Work], Path]) -> None:
    run, works, _ = watched
    counted = float(read_shards(run.path("propagate"))["evaluations"].sum())
    assert works["propagate"].evaluations["propagation"] == (pytest.approx(counted), 0.0)


@pytest.mark.parametrize("stage", ["sample", "probe", "propagate", "embed", "score"])
def test_bytes_of_what_holds_tensors(stage: str, watched: tuple[PlannedRun, dict[str, Work], Path]) -> None:
    run, works, _ = watched
    assert_as_large(works[stage], run.path(stage))


def test_bytes_by_a_rule_are_of_the_right_size(watched: tuple[PlannedRun, dict[str, Work], Path]) -> None:
    run, works, _ = watched
    assert 0.5 < works["evaluate"].bytes / size(run.path("evaluate")) < 2


@pytest.mark.parametrize("name", PROPAGATED)
def test_every_propagator_on_images(name: str, images_run: Path, image_root: Path, tmp_path: Path, rows: Rows) -> None:
    """All that the stage evaluates: the sampling again, the propagator, and how it finds the head's outputs."""
    copied(images_run, tmp_path)
    stages = "stages=[train,judge,fit,sample,propagate]"
    overrides = [*IMAGES, LAST_LAYER, f"data.root={image_root}", f"propagator={name}", *PROPAGATED[name], stages]
    run = planned(tmp_path, *overrides)
    work = work_of(run, "propagate")
    launch(tmp_path, *overrides[:-1], stages.replace(",propagate", ""))
    before = rows.forward
    launch(tmp_path, *overrides)
    assert work.forward == pytest.approx(rows.forward - before)
    if name != "paper":  # which leaves no map where a variance is negative
        assert_as_large(work, run.path("propagate"))


APPLIED = {
    "augment": ["application.cut=0.5", "application.samples=10"],
    "rectify": ["application.cut=0.5", "application.rule=score", "application.failed_by=score"],
    "guide": ["application.samples=10", "sampler=heun", "sampler.guidance_scale=2.0"],
    "best_of_n": [],
}


@pytest.mark.parametrize("name", APPLIED)
def test_every_application(name: str, images_run: Path, image_root: Path, tmp_path: Path, rows: Rows) -> None:
    copied(images_run, tmp_path)
    stages = "stages=[train,judge,fit,sample,embed,score,apply]"
    overrides = [*IMAGES, LAST_LAYER, f"data.root={image_root}", f"application={name}", *APPLIED[name], stages]
    run = planned(tmp_path, *overrides)
    work = work_of(run, "apply")
    launch(tmp_path, *overrides[:-1], stages.replace(",apply", ""))
    before = rows.forward
    launch(tmp_path, *overrides)
    assert (work.forward, work.backward) == (rows.forward - before, 0)
    assert 0.4 < work.bytes / size(run.path("apply")) < 3


PROMPTED = [
    *(*COMMON, *EVALUATION, "model=diffusers", "data=image_folder", "data.image_size=16", "likelihood=pixel"),
    *("model.prompts=[a red cat, two small blue dogs]", "metric=efficientnet", "metric.reference_images=24"),
    *("posterior=diagonal_laplace", "posterior.images=16", "posterior.held_out=8", "posterior.draws=2"),
    *("sampler=ddim", "sampler.guidance_scale=7.5", "sampler.steps=2", "sampler.samples=20", "sampler.batch_size=10"),
    *("score=pixel_variance", "score.controls=[random]"),
]
TRACED = 2  # rows by which a pipeline that is opened finds its head
OF_PROMPTS = {
    "augment": [*APPLIED["augment"], "application.propagator=corrected", "propagator=corrected"],
    "rectify": [*APPLIED["rectify"], "application.propagator=corrected", "propagator=paper", "propagator.states=2"],
}


@pytest.mark.parametrize("name", OF_PROMPTS)
def test_a_guided_pipeline_counts_both_branches_in_all_that_it_makes(
    name: str, image_root: Path, tmp_path: Path, rows: Rows
) -> None:
    given = [*PROMPTED, f"data.root={image_root}", f"model.pretrained={saved('stable_diffusion', tmp_path / 'sd')}"]
    given += [f"application={name}", *OF_PROMPTS[name]]
    run = planned(tmp_path, *given, "stages=[fit,sample,propagate,embed,score,apply]")
    works = {stage: work_of(run, stage).forward for stage in ("sample", "propagate", "apply")}
    found, made = {}, ""
    for stages in ("fit", "sample", "propagate", "embed,score,apply"):
        made, before = f"{made},{stages}".strip(","), rows.forward
        launch(tmp_path, *given, f"stages=[{made}]")
        found[stages.rpartition(",")[2]] = rows.forward - before - TRACED
    assert works == {stage: found[stage] for stage in works}
    once = 2 * run.config.sampler.steps * run.config.sampler.samples  # as wide as guided sampling is
    assert works["sample"] == once and works["propagate"] > once and works["apply"] > 0


def test_bytes_of_a_run_on_images(images_run: Path, image_root: Path) -> None:
    run = planned(images_run, *IMAGES, f"data.root={image_root}")
    for stage in ("train", "judge", "posterior.draws", "sample", "embed"):
        assert_as_large(work_of(run, stage), run.path(stage), few=1500)
    assert run_of(images_run, *IMAGES, f"data.root={image_root}").path("report") == run.path("report")
