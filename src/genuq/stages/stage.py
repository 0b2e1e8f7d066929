"""A stage of the pipeline: what it reads, what it leaves behind, and when it may be skipped."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from genuq import files
from genuq.errors import ArtefactError
from genuq.stages import loggers, reasons, runtime
from genuq.stages.artefacts import MANIFEST, StageFolder
from genuq.stages.progress import Display
from genuq.stages.run import Run
from genuq.stages.space import reporting_full_disk


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

    def weights_of(self, run: Run) -> tuple[str, ...]:
        """The stages whose weights it uses where this run makes them; elsewhere they come from a file."""
        return ()

    def applies(self, run: Run) -> bool:
        """Whether this run asks for it at all; a stage that does not apply leaves nothing."""
        return True

    @abstractmethod
    def work(self, run: Run, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        """Make the artefacts; returns notes for the manifest."""

    def assist(self, run: Run, display: Display) -> None:
        """What the further processes of a shared stage do: they work along."""
        return

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
        """Make the artefact unless it is there, and leave a link to it in the run's folder."""
        folder = self.folder(run)
        if not folder.is_current():
            self.say_why(run, folder, display)
        run.link(self.name)
        if made(folder, lambda: self.make(run, folder, display), self.name, display):
            folder.verify(thoroughly=False)
            display.say(f"{self.name}: already done, reused")
        loggers.observe(run, self.name, folder, display)

    def say_why(self, run: Run, folder: StageFolder, display: Display) -> None:
        """Say what differs from the artefact that the run's folder has a link to, if it has one of another identity."""
        before = reasons.identity_of(run.folder / self.name)
        if reason := reasons.why_anew(before, folder, run.store, run.artefacts.values()):
            display.say(f"{self.name}: made anew: {reason}")

    def make(self, run: Run, folder: StageFolder, display: Display) -> None:
        self.require_inputs(run)
        started = time.perf_counter()
        with reporting_full_disk(folder.path):
            notes = self.work(run, folder, display)
            seconds = time.perf_counter() - started
            folder.complete(seconds, notes)
        display.say(f"{self.name}: {seconds:.1f} s")

    def work_along(self, run: Run, display: Display) -> None:
        """What `execute` is in the further processes: in step with it, also through the stages that are not shared."""
        self.folder(run)  # known from here on, as in the first process
        if not was_made() and self.shared:
            self.assist(run, display)


STAGES: dict[str, Stage] = {}


def register(stage: type[Stage]) -> None:
    """Add a stage to the pipeline, in the order of registration."""
    STAGES[stage.name] = stage()


def made(folder: StageFolder, make: Any, name: str, display: Display) -> bool:
    """Make an artefact, in the first process, unless it was there already; says whether it was.

    No two processes that share the store make it at once: the later one waits, and finds it. All processes of one run
    go the same way, whatever happens on the disk meanwhile.
    """

    def waiting() -> None:
        display.say(f"{name}: another run is making it; waiting")
        runtime.agree("waiting")

    if folder.is_current():
        return runtime.agree(True)
    with folder.exclusively(waiting):
        if runtime.agree(folder.is_current()):
            return True
        folder.path.mkdir(parents=True, exist_ok=True)
        make()
    return False


def was_made() -> bool:
    """In a further process, while the first one is in `made`: whether the artefact was there already."""
    while (answer := runtime.agree(None)) == "waiting":
        pass
    return answer


def checkpoint_identity(run: Run) -> str:
    """What identifies the weights in use: the training's fingerprint, or the file's sha256."""
    own = run.folder / "train"
    if run.trains:
        return STAGES["train"].folder(run).fingerprint
    if run.checkpoint.parent == own:  # trained earlier, perhaps under other settings
        return files.read_json(own / MANIFEST)["fingerprint"]
    return run.sha256(run.checkpoint)
