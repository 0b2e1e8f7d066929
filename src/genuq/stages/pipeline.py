"""The stages of a run, in their order."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from genuq.stages import finished, preflight, processes, runtime
from genuq.stages.apply import Apply
from genuq.stages.embed import Embed
from genuq.stages.evaluate import Evaluate
from genuq.stages.fit import Fit
from genuq.stages.job import Job
from genuq.stages.progress import Display
from genuq.stages.propagate import Propagate
from genuq.stages.recording import record_of
from genuq.stages.records import write_record
from genuq.stages.report import Report
from genuq.stages.run import Run
from genuq.stages.sample import Sample
from genuq.stages.score import Score
from genuq.stages.stage import STAGES, register
from genuq.stages.train import Train, TrainJudge

for _stage in (Train, TrainJudge, Fit, Sample, Propagate, Embed, Score, Evaluate, Apply, Report):
    register(_stage)


def opened(config: DictConfig, folder: Path, command: str = "genuq") -> Run:
    """A run whose artefacts can be read, whatever of them is there."""
    run = Run(config, folder, command)
    for stage in STAGES.values():
        stage.folder(run)
    return run


def execute(
    config: DictConfig, folder: Path, command: str, display: Display | None = None, job: Job | None = None
) -> Run:
    """Check everything, then run the stages named by `config.stages`, in the order of the pipeline.

    The study's record of the run is written at the end, and the stamp by which a sweep knows that it is finished.
    """
    quiet = processes.was_started() or not runtime.is_first_process()
    run, display = Run(config, folder, command, job or Job()), display or Display(Console(quiet=quiet))

    def check() -> None:
        with display.busy("checking the configuration, the data and the weights"):
            preflight.check(run)

    with processes.together(run, check):
        first = runtime.is_first_process()
        if first:
            write_record(run.store, record_of(run))
        for name, stage in STAGES.items():
            if name in config.stages and stage.applies(run):
                (stage.execute if first else stage.work_along)(run, display)
        if first:
            conclude(run)
    return run


def conclude(run: Run) -> None:
    """Leave the run's record in the store, and the stamp of a sweep's job."""
    write_record(run.store, record_of(run))
    if run.job.sweep is not None:
        asked = [name for name, stage in STAGES.items() if name in run.config.stages and stage.applies(run)]
        path = finished.stamp_path(run.store, run.job.sweep, run.job.overrides, run.job.options)
        finished.write_stamp(path, run.store, {run.folder / name: run.path(name) for name in asked}, run.read)
