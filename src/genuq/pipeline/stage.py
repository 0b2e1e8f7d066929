"""A stage of the pipeline: what it reads, what it leaves behind, and when it may be skipped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from genuq import files
from genuq.display import Display
from genuq.errors import ArtefactError
from genuq.parallel import collectives
from genuq.pipeline.run import Run
from genuq.store.artefact import MANIFEST, StageFolder
from genuq.store.once import make_once


class Stage(ABC):
    """One step of a run.

    Attributes:
        name: of the stage and of its folder.
        version: raised whenever the stage's results change for the same inputs.
        inputs: stages whose artefacts it reads; see `needs`.
        groups: parts of the configuration that its result depends on.
        shared: whether all processes of the run do its work together; else the first does, and the others wait.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    inputs: ClassVar[tuple[str, ...]] = ()
    groups: ClassVar[tuple[str, ...]] = ()
    shared: ClassVar[bool] = False

    def settings(self, run: Run) -> dict[str, Any]:
        """What of the configuration the result depends on."""
        return run.plain("seed", *self.groups)

    def needs(self, run: Run) -> tuple[str, ...]:
        """The stages whose artefacts it reads in this run."""
        return self.inputs

    def weights_of(self, run: Run) -> tuple[str, ...]:
        """The stages whose weights it uses where this run makes them; elsewhere they come from a file."""
        return ()

    def applies(self, run: Run) -> bool:
        """Whether this run asks for it at all; a stage that does not apply leaves nothing."""
        return True

    @abstractmethod
    def work(self, run: Run, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        """Make the artefact; returns the notes for its manifest.

        All processes of the run are here where the stage is `shared`; what only one may do, the first one does.
        """

    def folder(self, run: Run) -> StageFolder:
        """The stage's artefact in this run, whose fingerprint covers its settings and everything upstream."""
        if self.name not in run.artefacts:
            inputs = {name: STAGES[name].folder(run).fingerprint for name in self.needs(run)}
            identity = {"stage": self.name, "version": self.version, "settings": self.settings(run), "inputs": inputs}
            run.artefacts[self.name] = StageFolder.in_store(run.store, identity)
        return run.artefacts[self.name]

    def require_inputs(self, run: Run) -> None:
        """Raise ArtefactError unless everything upstream was made under this configuration, and is whole."""
        for name in (*self.weights_of(run), *self.needs(run)):
            if name in run.verified:
                continue
            STAGES[name].require_inputs(run)
            folder = STAGES[name].folder(run)
            if not folder.is_current():
                raise self.lacks(name)
            folder.verify()
            run.verified.add(name)

    def lacks(self, name: str) -> ArtefactError:
        """That a stage upstream has left nothing."""
        return ArtefactError(
            f"stage '{self.name}' needs '{name}', which was not made under this configuration, or is unfinished. "
            f"Add it: stages=[{name},{self.name},...]."
        )

    def execute(self, run: Run, display: Display) -> None:
        """Make the artefact unless it is there, and leave a link to it in the run's folder; in all processes alike."""
        folder, first = self.folder(run), collectives.is_first_process()
        if first:
            run.link(self.name)

        def work() -> Mapping[str, Any]:
            if first:
                self.require_inputs(run)
            return self.work(run, folder, display)

        make_once(folder, work, self.name, display, self.shared)
        if first:
            run.tracker.observe(run, self.name, folder, display)


STAGES: dict[str, Stage] = {}


def register(stage: type[Stage]) -> None:
    """Add a stage to the pipeline, in the order of registration."""
    STAGES[stage.name] = stage()


def checkpoint_identity(run: Run) -> str:
    """What identifies the weights in use: the training's fingerprint, or the file's sha256."""
    own = run.folder / "train"
    if run.trains:
        return STAGES["train"].folder(run).fingerprint
    if run.checkpoint.parent == own:  # trained earlier, perhaps under other settings
        return files.read_json(own / MANIFEST)["fingerprint"]
    return run.sha256(run.checkpoint)
