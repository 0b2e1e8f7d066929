"""What a stage declares is all that its work can read, and it reads all of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from genuq.identity import declared, identity_of
from genuq.pipeline import execute, judging
from genuq.pipeline import inputs as parts
from genuq.pipeline.run import Run
from genuq.pipeline.stage import STAGES, Stage
from genuq.pipeline.stages import fit
from genuq.store.artefact import StageFolder
from genuq.store.upstream import FileContent, Upstream, upstream_of
from support.small_runs import POINTS, composed, launch, run_of

RUN = [
    *(text for text in POINTS if not text.startswith("stages=")),
    "stages=[train,fit,sample,probe,propagate,embed,score,evaluate,apply,report]",
    "propagator=trajectory",
    "application=augment",
    "application.samples=10",
    "application.cut=0.67",
    "score.also=[aleatoric,path_disagreement_semantic,renoised_disagreement]",
    "score.controls=[random,jitter,isotropic]",
    "+posterior@beside.ensemble=posthoc_ensemble",
    *("beside.ensemble.members=2", "beside.ensemble.steps=3", "beside.ensemble.draws=2"),
    "+posterior@beside.noise=isotropic",
    *("beside.noise.match=posterior", "beside.noise.draws=2"),
]
LEAVES = (Upstream, FileContent, StageFolder)  # known by a digest, and read as a whole
# What says by its value alone that a result may be another one: digests of code and of folders.
DIGESTS = {
    *(("PartInputs", "code"), ("StreamedInputs", "code"), ("ModelInputs", "autoencoder")),
    ("MembersInputs", "finished"),  # the files that `posterior.checkpoints` names
}
# What this run has no use for, though others do.
ELSEWHERE = {
    ("LikelihoodInputs", "extractor"),  # of images
    ("JudgeInputs", "extractor"),
    ("JudgeInputs", "points"),  # opened already, for the preflight
    ("JudgeInputs", "classifier"),
    ("PropagateInputs", "decoded_map"),
    ("ScoreInputs", "mask"),
    ("Spaces", "extractors"),
    ("Spaces", "likelihood"),
    ("ApplyInputs", "spaces"),
    ("ApplyInputs", "curves"),  # of applications that choose among samples
    ("ApplyInputs", "data"),  # of witnesses
    ("DrawsInputs", "include_unperturbed"),
    ("DrawsInputs", "observation_variance"),
}


@dataclass
class Reading:
    """Fields of records that were read, by stage, as (class, field)."""

    stage: str = ""
    fields: dict[str, set[tuple[str, str]]] = field(default_factory=dict)

    def see(self, record: Any, name: str) -> None:
        if self.stage:
            self.fields.setdefault(self.stage, set()).add((type(record).__name__, name))

    @contextlib.contextmanager
    def during(self, stage: str) -> Iterator[None]:
        before, self.stage = self.stage, stage
        try:
            yield
        finally:
            self.stage = before


def records_of(value: Any) -> Iterator[Any]:
    """A record and all records within it, that are the pipeline's own."""
    if isinstance(value, LEAVES):
        return
    if is_dataclass(value) and not isinstance(value, type):
        if type(value).__module__.startswith("genuq.pipeline"):
            yield value
        for part in declared(value):
            yield from records_of(getattr(value, part.name))
    elif isinstance(value, dict):
        for entry in value.values():
            yield from records_of(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from records_of(entry)


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    """A small run during which every read of a declared field is noted; reads for a fingerprint are not."""
    found, folder = Reading(), tmp_path_factory.mktemp("declared")
    run = execute.opened(composed(f"store={folder}/store", *RUN), folder)
    classes = {type(record) for stage in run.inputs.values() for record in records_of(stage)}
    with pytest.MonkeyPatch.context() as patch:
        for kind in classes:
            names = {part.name for part in fields(kind) if "neutral" not in part.metadata}

            def noted(self: Any, name: str, names: set[str] = names) -> Any:
                if name in names:
                    found.see(self, name)
                return object.__getattribute__(self, name)

            patch.setattr(kind, "__getattribute__", noted, raising=False)

        def unnoted(value: Any) -> Any:
            with found.during(""):
                return identity_of(value)

        for module in (parts, judging, fit):
            patch.setattr(module, "identity_of", unnoted)
        for stage in STAGES.values():
            work = type(stage).work

            def watched(self: Stage[Any], *arguments: Any, work: Any = work) -> Any:
                with found.during(self.name):
                    return work(self, *arguments)

            patch.setattr(type(stage), "work", watched)
        launch(folder, *RUN)
    yield found


@pytest.mark.parametrize(
    "stage", ["train", "fit", "sample", "probe", "propagate", "embed", "score", "evaluate", "apply", "report"]
)
def test_all_that_is_declared_is_read(stage: str, reading: Reading, tmp_path: Path) -> None:
    run = run_of(tmp_path, *RUN)
    records = list(records_of(run.inputs[stage]))
    wanted = {(type(record).__name__, part.name) for record in records for part in declared(record)}
    opened_once = vars(parts) | vars(judging)
    shared = {name for name, kind in opened_once.items() if is_dataclass(kind)}
    read = {one for each in reading.fields.values() for one in each if one[0] in shared} | reading.fields[stage]
    assert wanted - read - DIGESTS - ELSEWHERE == set()


def reachable(value: Any, seen: set[int]) -> Iterator[Any]:
    """All that can be got at from a value: fields, entries, what functions have bound."""
    if id(value) in seen or isinstance(value, (str, int, float, type(None), Path)):
        return
    seen.add(id(value))
    yield value
    if is_dataclass(value) and not isinstance(value, type):
        inner = [getattr(value, part.name) for part in fields(value) if part.name != "logger"]
    elif isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, (list, tuple, set)):
        inner = list(value)
    elif isinstance(value, partial):
        inner = [value.func, *value.args, *value.keywords.values()]
    else:
        inner = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
        inner += [getattr(value, "__self__", None)]
    for entry in inner:
        yield from reachable(entry, seen)


def test_nothing_else_can_be_reached(tmp_path: Path) -> None:
    """Neither the run nor its configuration; a training's logger alone may look at them, and nothing reads it."""
    run = run_of(tmp_path, *RUN)
    assert run.inputs.keys() == {name for name, stage in STAGES.items() if stage.applies(run)}
    for name, inputs in run.inputs.items():
        assert not [one for one in reachable(inputs, set()) if isinstance(one, (Run, DictConfig))], name


def test_what_is_undeclared_is_no_attribute(tmp_path: Path) -> None:
    inputs = run_of(tmp_path, *RUN).inputs["sample"]
    with pytest.raises(AttributeError):
        inputs.likelihood  # noqa: B018
    with pytest.raises(LookupError, match="test set is not declared"):
        run_of(tmp_path, *RUN).inputs["apply"].data.test  # noqa: B018


def test_stages_upstream_are_those_that_are_declared(tmp_path: Path) -> None:
    run = run_of(tmp_path, *RUN)
    assert set(STAGES["fit"].needs(run)) == {"train"}
    assert set(STAGES["sample"].needs(run)) == {"train", "fit"}
    assert {one.stage for one in upstream_of(run.inputs["score"])} == {"sample", "probe", "embed", "propagate"}
    assert set(STAGES["probe"].needs(run)) == {"train", "fit", "sample"}


@pytest.mark.parametrize(
    ("chosen", "change"),
    [
        (["propagator=trajectory"], "propagator.map_draws=3"),  # the model has no decoder
        (["propagator=trajectory"], "propagator.map_method=linear"),
        (["propagator=trajectory"], "propagator.share=0.5"),  # of the highest pixels, where a sum counts all
        (["score.also=[]"], "score.window=[0.5,1.0]"),
        (["score.also=[]"], "score.renoisings=9"),
        (["score.also=[]"], "score.probes=3"),
        (["score.also=[]"], "score.likelihood_steps=3"),
        (["score.controls=[random]"], "score.jitter_size=0.5"),
        (["score.controls=[random]"], "score.noise_standard_deviation=0.5"),
        (["stages=[fit,sample]", "model.checkpoint={checkpoint}"], "trainer.warmup_steps=7"),
        (["trainer.devices=1"], "trainer.devices=2"),
        (["likelihood.batch_size=64"], "likelihood.batch_size=3"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_nothing_reads_makes_nothing_anew(
    chosen: list[str], change: str, points_run: Path, tmp_path: Path
) -> None:
    checkpoint = points_run / "train" / "model.safetensors"
    base = [*POINTS, *(text.format(checkpoint=checkpoint) for text in chosen)]
    one, other = (made_by(run_of(tmp_path, *base, *more)) for more in ([], [change]))
    assert one == other


def made_by(run: Run) -> dict[str, Path]:
    """By name, the artefacts that the run's stages make, and those of posteriors."""
    return {
        name: folder.path for name, folder in run.artefacts.items() if name not in STAGES or name in run.config.stages
    }
