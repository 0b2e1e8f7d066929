"""The stages of a run, in their order."""

from __future__ import annotations

import json
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from genuq import files
from genuq.config import finished
from genuq.config.job import Job
from genuq.config.plugged import chosen_parts
from genuq.display import Display
from genuq.parallel import collectives, workers
from genuq.parts.identity import files_of
from genuq.pipeline import preflight
from genuq.pipeline.effect import without_effect
from genuq.pipeline.recording import record_of
from genuq.pipeline.run import NoTracker, Run, Tracker, hardware_of
from genuq.pipeline.stage import STAGES, asked, register
from genuq.pipeline.stages.apply import Apply
from genuq.pipeline.stages.embed import Embed
from genuq.pipeline.stages.evaluate import Evaluate
from genuq.pipeline.stages.fit import Fit
from genuq.pipeline.stages.pilot import Pilot
from genuq.pipeline.stages.probe import ProbeSamples
from genuq.pipeline.stages.propagate import Propagate
from genuq.pipeline.stages.report import Report
from genuq.pipeline.stages.sample import Sample
from genuq.pipeline.stages.score import Score
from genuq.pipeline.stages.train import Train, TrainJudge
from genuq.store.records import write_record

for _stage in (Train, TrainJudge, Fit, Pilot, Sample, ProbeSamples, Propagate, Embed, Score, Evaluate, Apply, Report):
    register(_stage)


def opened(config: DictConfig, folder: Path, command: str = "genuq") -> Run:
    """A run whose artefacts can be read, whatever of them is there."""
    run = Run(config, folder, command)
    for stage in STAGES.values():
        if stage.applies(run):
            stage.folder(run)
    return run


def execute(
    config: DictConfig,
    folder: Path,
    command: str,
    display: Display | None = None,
    job: Job | None = None,
    tracker: Tracker | None = None,
) -> Run:
    """Check everything, then run the stages named by `config.stages`, in the order of the pipeline.

    The study's record of the run is written at the end, and the stamp by which a sweep knows that it is finished.
    """
    quiet = workers.is_worker() or not collectives.is_first_process()
    run = Run(config, folder, command, job or Job(), tracker=tracker or NoTracker())
    display = display or Display(Console(quiet=quiet))
    task = json.dumps({"config": OmegaConf.to_yaml(config), "folder": str(folder), "command": command})

    def check() -> None:
        with display.busy("checking the configuration, the data and the weights"):
            preflight.check(run)
        for sentence in without_effect(run):
            display.say(sentence)

    with workers.connected_processes(hardware_of(run), task, check):
        first = collectives.is_first_process()
        if first:
            write_record(run.store, record_of(run))
        for name in asked(run):
            STAGES[name].execute(run, display)
        if first:
            conclude(run)
    return run


def conclude(run: Run) -> None:
    """Leave the run's record in the store, and the stamp of a sweep's job."""
    write_record(run.store, record_of(run))
    if run.job.sweep is not None:
        sources = [path for part in chosen_parts(run.config) for path in files_of(part)]
        run.read |= {str(path.absolute()): files.state_of(path) for path in sources}
        path = finished.stamp_path(run.store, run.job.sweep, run.job.overrides, run.job.options)
        finished.write_stamp(path, run.store, {run.folder / name: run.path(name) for name in asked(run)}, run.read)
