"""A stage of the pipeline: what it reads, what it leaves behind, and when it may be skipped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from genuq.display import Display
from genuq.errors import ArtefactError
from genuq.identity import declared, identity_of
from genuq.parallel import collectives
from genuq.pipeline import reasons
from genuq.pipeline.run import Run
from genuq.store.artefact import StageFolder
from genuq.store.once import make_once
from genuq.store.upstream import Upstream, upstream_of

Inputs = TypeVar("Inputs")

LAYOUT = 2  # of an identity; raised when the same inputs are written down in another way


class Stage(ABC, Generic[Inputs]):
    """One step of a run.

    Its `inputs` are the one declaration of what it depends on: their fields are its fingerprint, less those that are
    neutral, and all that its work receives. What is not declared cannot be read.

    Attributes:
        name: of the stage and of its folder.
        version: raised whenever the stage's results change for the same inputs.
        shared: whether all processes of the run do its work together; else the first does, and the others wait.
        together: whether other runs that come by work along on its shards; else they wait.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    shared: ClassVar[bool] = False
    together: ClassVar[bool] = False

    @abstractmethod
    def inputs(self, run: Run) -> Inputs:
        """What the stage depends on in this run, as a frozen record; cheap, as nothing large is opened."""

    @abstractmethod
    def work(self, inputs: Inputs, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        """Make the artefact; returns the notes for its manifest.

        All processes of the run are here where the stage is `shared`; what only one may do, the first one does.
        """

    def applies(self, run: Run) -> bool:
        """Whether this run asks for it at all; a stage that does not apply leaves nothing."""
        return True

    def declared(self, run: Run) -> Inputs:
        """The stage's inputs in this run; built once."""
        if self.name not in run.inputs:
            run.inputs[self.name] = self.inputs(run)
        return run.inputs[self.name]

    def needs(self, run: Run) -> tuple[str, ...]:
        """The stages whose artefacts it reads in this run."""
        return tuple(dict.fromkeys(one.stage for one in upstream_of(self.declared(run))))

    def folder(self, run: Run) -> StageFolder:
        """The stage's artefact in this run, whose fingerprint covers its inputs and everything upstream."""
        if self.name not in run.artefacts:
            run.artefacts[self.name] = artefact_of(run, self.name, self.version, self.declared(run))
        return run.artefacts[self.name]

    def require_inputs(self, run: Run) -> None:
        """Raise ArtefactError unless everything upstream was made under this configuration, and is whole."""
        for name in self.needs(run):
            if name in run.verified:
                continue
            STAGES[name].require_inputs(run)
            folder = STAGES[name].folder(run)
            if not folder.is_current():
                raise self.lacks(name)
            folder.verify()
            run.verified.add(name)

    def require_upstream(self, run: Run, coming: Collection[Path]) -> None:
        """Raise ArtefactError unless all upstream is there, or will be made first.

        Args:
            coming: folders of the artefacts that will have been made by then.
        """
        for name in self.needs(run):
            folder = STAGES[name].folder(run)
            if folder.path not in coming:
                STAGES[name].require_upstream(run, coming)
                if not folder.is_current():
                    raise self.lacks(name)

    def lacks(self, name: str) -> ArtefactError:
        """That a stage upstream has left nothing."""
        return ArtefactError(
            f"stage '{self.name}' needs '{name}', which was not made under this configuration, or is unfinished. "
            f"Add it: stages=[{name},{self.name},...]."
        )

    def execute(self, run: Run, display: Display) -> None:
        """Make the artefact unless it is there, and leave a link to it in the run's folder; in all processes alike."""
        folder, inputs, first = self.folder(run), self.declared(run), collectives.is_first_process()
        if first:
            if not folder.is_current():
                self.say_why(run, folder, display)
            run.link(self.name)
        with make_once(folder, self.name, display, self.shared, together=self.together) as making:
            if making.here:
                if first:
                    self.require_inputs(run)
                making.notes = self.work(inputs, folder, display)
        if first:
            run.tracker.observe(run, self.name, folder, display)

    def say_why(self, run: Run, folder: StageFolder, display: Display) -> None:
        """Say what differs from the artefact that the run's folder has a link to, if it has one of another identity."""
        before = reasons.written_identity(run.folder / self.name)
        if reason := reasons.why_anew(before, folder, run.store, run.artefacts.values()):
            display.say(f"{self.name}: made anew: {reason}")


STAGES: dict[str, Stage[Any]] = {}


def register(stage: type[Stage[Any]]) -> None:
    """Add a stage to the pipeline, in the order of registration."""
    STAGES[stage.name] = stage()


def artefact_of(run: Run, name: str, version: int, inputs: Any) -> StageFolder:
    """Where what is made from a record of inputs lies: `settings` are its values, `inputs` the artefacts upstream.

    Args:
        name: of the stage, or `posterior`.
        version: of what makes it.
        inputs: a frozen dataclass.
    """
    assert is_dataclass(inputs) and fields(inputs)
    settings: dict[str, Any] = {}
    artefacts: dict[str, str] = {}
    for part in declared(inputs):
        value = getattr(inputs, part.name)
        (artefacts if isinstance(value, Upstream) else settings)[part.name] = identity_of(value)
    identity = {"stage": name, "version": version, "layout": LAYOUT, "settings": settings, "inputs": artefacts}
    return StageFolder.in_store(run.store, identity)


def asked(run: Run) -> list[str]:
    """The stages that make something in this run, in their order."""
    return [name for name, stage in STAGES.items() if name in run.config.stages and stage.applies(run)]


def upstream(run: Run, stage: str) -> Upstream:
    """The artefact of another stage of this run."""
    return Upstream(stage, STAGES[stage].folder(run))
