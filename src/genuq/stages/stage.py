"""A stage of the pipeline: what it reads, what it leaves behind, and when it may be skipped."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from genuq import files
from genuq.errors import ArtefactError
from genuq.stages.artefacts import MANIFEST, StageFolder
from genuq.stages.progress import Display
from genuq.stages.run import Run


class Stage(ABC):
    """One step of a run.

    Attributes:
        name: of the stage and of its folder.
        version: raised whenever the stage's results change for the same inputs.
        inputs: stages whose artefacts it reads; see `needs`.
        groups: parts of the configuration that its result depends on.
        shared: whether all processes work on it, each in `assist`.
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

    @abstractmethod
    def work(self, run: Run, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        """Make the artefacts; returns notes for the manifest."""

    def assist(self, run: Run, display: Display) -> None:
        """What the further processes of a shared stage do: they work along, and write nothing."""
        return

    def folder(self, run: Run) -> StageFolder:
        """The stage's folder, whose fingerprint covers its settings and everything upstream."""
        inputs = {name: STAGES[name].folder(run).fingerprint for name in self.needs(run)}
        identity = {"stage": self.name, "version": self.version, "settings": self.settings(run), "inputs": inputs}
        return StageFolder(run.folder / self.name, identity)

    def require_inputs(self, run: Run) -> None:
        """Raise ArtefactError unless everything upstream was made under this configuration."""
        for name in self.needs(run):
            STAGES[name].require_inputs(run)
            if not STAGES[name].folder(run).is_current():
                raise ArtefactError(
                    f"stage '{self.name}' needs '{name}', which is unfinished or of another configuration in "
                    f"{run.folder}. Add it: stages=[{name},{self.name},...]."
                )

    def execute(self, run: Run, display: Display) -> None:
        """Do the work unless it is already done."""
        folder = self.folder(run)
        if folder.state() == "complete":
            display.say(f"{self.name}: already done, reused")
            return
        self.require_inputs(run)
        folder.begin()
        started = time.perf_counter()
        notes = self.work(run, folder, display)
        seconds = time.perf_counter() - started
        folder.complete(seconds, notes)
        display.say(f"{self.name}: {seconds:.1f} s")


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
    return files.sha256(run.checkpoint)
