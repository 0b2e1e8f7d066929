"""Where the numbers of a run also go: CSV files, or Weights & Biases (offline unless asked otherwise)."""

from __future__ import annotations

import os
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger

from genuq import files
from genuq.errors import ConfigurationError, did_you_mean
from genuq.stages.run import Run

LOGGERS = ("csv", "wandb", "none")


def check_logger(run: Run) -> None:
    """Raise ConfigurationError for an unknown logger or mode."""
    settings = run.config.logger
    if settings.name not in LOGGERS:
        raise ConfigurationError(
            f"logger.name = '{settings.name}' is no logger." + did_you_mean(settings.name, LOGGERS)
        )
    if settings.mode not in ("offline", "online"):
        raise ConfigurationError(f"logger.mode = '{settings.mode}'; choose offline or online.")


def lightning_logger(run: Run, part: str) -> Logger | bool:
    """The logger of one training."""
    folder, settings = run.folder / "logs", run.config.logger
    if settings.name == "none":
        return False
    if settings.name == "csv":
        return CSVLogger(folder, name=part, version="")
    from lightning.pytorch.loggers import WandbLogger

    return WandbLogger(
        name=f"{run.config.name}-{part}",
        id=wandb_id(run, part),
        project=settings.project,
        save_dir=_made(folder),
        offline=settings.mode == "offline",
        group=run.config.name,
        job_type=part,
    )


def wandb_id(run: Run, part: str) -> str:
    """A run id that is the same when the run is resumed."""
    from genuq.stages.artefacts import fingerprint

    return fingerprint({"folder": run.folder.name, "part": part, "seed": run.config.seed})[:16]


def log_results(run: Run, results: dict[str, Any], images: dict[str, Any]) -> None:
    """Log the numbers of a finished evaluation, the table of samples and the plots.

    Args:
        results: the results of the report.
        images: plots by name, paths of PNG files.
    """
    settings = run.config.logger
    numbers = scalar_results(results)
    if settings.name == "csv":
        lines = ["name,value", *(f"{name},{value!r}" for name, value in numbers.items())]
        files.write_text(run.folder / "logs" / "evaluation.csv", "\n".join(lines) + "\n")
    elif settings.name == "wandb":
        _log_to_wandb(run, results, numbers, images)


def scalar_results(results: dict[str, Any]) -> dict[str, float]:
    """`score/measure` for every number of the summary table, and the scale of the posterior."""
    numbers = {
        f"{row['score']}/{key}": value
        for row in results["summary"]["table"]
        for key, value in row.items()
        if isinstance(value, int | float)
    }
    scale = {f"posterior/{k}": v for k, v in results["posterior"]["scale"].items() if isinstance(v, int | float)}
    return numbers | scale


def _log_to_wandb(run: Run, results: dict[str, Any], numbers: dict[str, float], images: dict[str, Any]) -> None:
    import wandb

    settings = run.config.logger
    os.environ.setdefault("WANDB_SILENT", "true")
    session = wandb.init(
        project=settings.project,
        name=run.config.name,
        id=wandb_id(run, "evaluate"),
        group=run.config.name,
        job_type="evaluate",
        dir=_made(run.folder / "logs"),
        mode=settings.mode,
        config=results["config"],
        resume="allow" if settings.mode == "online" else None,
    )
    table = wandb.Table(columns=results["samples"]["columns"], data=results["samples"]["rows"])
    pictures = {f"plots/{name}": wandb.Image(str(path)) for name, path in images.items()}
    session.log({**numbers, "samples": table, **pictures})
    session.summary["sentence"] = results["summary"]["sentence"]
    session.finish()


def _made(folder: Any) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)
