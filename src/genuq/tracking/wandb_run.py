"""Weights & Biases beside a run: one wandb run for each stage, the study its group. Offline unless asked otherwise.

Whatever fails in here (an import, the disk, the network) is told in one line, and the run goes on without it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

import genuq
from genuq import files
from genuq.config.neutral import without_neutral
from genuq.display import Display
from genuq.parallel import collectives
from genuq.pipeline.run import Run
from genuq.report.drawing.marks import marking
from genuq.store.artefact import StageFolder, fingerprint
from genuq.store.scales import at_scale, warning_of
from genuq.tracking.wandb_content import Content, content_of
from genuq.tracking.wandb_names import FRACTION, KEPT, STEP

TAG_LENGTH = 64  # characters that wandb allows
INIT_SECONDS, FINISH_SECONDS = 30.0, 120.0  # to wait for the network, before going on without it
DATA_DIR = "WANDB_DATA_DIR"
OPEN: dict[str, Any] = {}  # wandb runs that a training has begun and its stage will end, by id


def observe(run: Run, stage: str, folder: StageFolder, display: Display) -> None:
    """Log a finished stage, unless that was done by an earlier command."""
    with passively(display, f"the stage {stage}"), staging(run.folder / "logs" / "wandb-data"):
        name, path = wandb_id(run, stage), run.folder / "logs" / "wandb.json"
        receipts = files.read_json(path) if path.exists() else {}
        receipt = {"id": name, "fingerprint": folder.fingerprint, **run.plain("logger")["logger"]}
        if name not in OPEN and receipts.get(stage) == receipt:
            return
        with marking(warning_of(run.scale)):
            content = content_of(run, stage, folder)
        session = opened(run, stage, display)
        try:
            log(session, content)
        finally:
            closed(session)
        files.write_json(path, receipts | {stage: receipt})


def log(session: Any, content: Content) -> None:
    if content.rows:
        session.define_metric(FRACTION, hidden=True)
        session.define_metric(f"{KEPT}/*", step_metric=FRACTION)
    for row in content.rows:
        session.log(row)
    session.log(content.once)
    session.summary.update(content.summary)


@contextlib.contextmanager
def passively(display: Display, what: str) -> Iterator[None]:
    """Turn any failure into a line."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        display.say(f"warning: {what} could not be logged to wandb ({reason[0]}). The run goes on without.")


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[None]:
    """Tables wait for their upload in the run's folder; wandb alone would leave them in the user's home."""
    if DATA_DIR in os.environ:
        yield
        return
    os.environ[DATA_DIR] = str(folder.absolute())
    try:
        yield
    finally:
        del os.environ[DATA_DIR]


def opened(run: Run, stage: str, display: Display) -> Any:
    """The stage's wandb run: a new one, the one that an earlier command began, or the one that is being trained in."""
    name = wandb_id(run, stage)
    if name not in OPEN:
        OPEN[name] = begun(run, stage, display)
    return OPEN[name]


def closed(session: Any, failed: bool = False) -> None:
    OPEN.pop(session.id, None)
    session.finish(exit_code=int(failed))


def begun(run: Run, stage: str, display: Display) -> Any:
    import wandb

    settings, folder = run.config.logger, run.folder / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {
        "id": wandb_id(run, stage),
        "name": f"{at_scale(run.job.name or run.config.name, run.scale)}/{stage}",
        "group": run.study,
        "job_type": stage,
        "tags": tags_of(run),
        "config": run.plain() | {"genuq": genuq.__version__, "command": run.command, "run": run_id(run)},
        "project": settings.project,
        "entity": settings.entity,
        "dir": str(folder),
        "reinit": "create_new",  # leaves alone a wandb run of whoever calls genuq as a library
        "settings": wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            init_timeout=INIT_SECONDS,
            finish_timeout=FINISH_SECONDS,
        ),
    }
    if settings.mode == "online":
        try:
            if not wandb.login(prompt=False, verify=False):
                raise PermissionError("no API key: run `wandb login`, or set WANDB_API_KEY")
            return wandb.init(mode="online", resume="allow", **options)
        except Exception as error:
            display.say(f"warning: {stage} is logged offline, `wandb sync` can upload it later ({error}).")
    return wandb.init(mode="offline", **options)


def wandb_id(run: Run, stage: str) -> str:
    """The same for the same work: a run that is started again goes on in its wandb run."""
    return fingerprint({"study": run.study, "run": run_id(run), "stage": stage})[:16]


def run_id(run: Run) -> str:
    """16 hexadecimal digits of all settings that a result may depend on; the same whichever of its stages are asked."""
    settings = {key: value for key, value in run.plain().items() if key not in ("stages", "scale")}
    return fingerprint(without_neutral(settings))[:16]


def tags_of(run: Run) -> list[str]:
    """What the run is made of, to filter by."""
    parts = [run.config[group].name for group in ("data", "model", "posterior", "likelihood", "sampler")]
    marks = list(filter(None, [warning_of(run.scale)]))
    return [str(part)[:TAG_LENGTH] for part in dict.fromkeys([*marks, *parts, *run.config.beside])]


def training_logger(run: Run, stage: str, part: str, display: Display) -> Logger | bool:
    """Lightning's wandb logger on the stage's run, which stays open until the stage is observed."""
    if not collectives.is_first_process():
        return False
    with passively(display, f"the training of the {part}"):
        from lightning.pytorch.loggers import WandbLogger

        session = opened(run, stage, display)
        session.define_metric(STEP, hidden=True)
        session.define_metric(f"{part}-*", step_metric=STEP)
        return PassiveLogger(WandbLogger(experiment=session, project=run.config.logger.project, prefix=part), display)
    return False


class PassiveLogger(Logger):
    """Another logger; its first failure silences it, and the training goes on."""

    def __init__(self, logger: Any, display: Display) -> None:
        super().__init__()
        self.logger, self.display, self.silenced = logger, display, False

    @property
    def name(self) -> str | None:
        return self.logger.name

    @property
    def version(self) -> int | str | None:
        return ""  # a number of versions, which the progress bar would show: there are none

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the whole configuration is in the wandb run already."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self.silenced:
            return
        self.silenced = True
        with passively(self.display, "the training"):
            self.logger.log_metrics(metrics, step)
            self.silenced = False

    def finalize(self, status: str) -> None:
        """A broken-off training ends the wandb run; a finished one leaves that to its stage."""
        if status != "success":
            with passively(self.display, "the training"):
                closed(self.logger.experiment, failed=True)
