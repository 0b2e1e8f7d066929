"""Where the numbers of a run also go: a CSV file, or Weights & Biases. A logger looks on; no result depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger

from genuq import files
from genuq.errors import ConfigurationError, did_you_mean
from genuq.stages.artefacts import StageFolder
from genuq.stages.progress import Display
from genuq.stages.run import Run

LOGGERS = ("csv", "wandb", "none")
MODES = ("offline", "online")


def check_logger(run: Run) -> None:
    """Raise ConfigurationError for an unknown logger or mode, or for no rows in the table of samples."""
    settings = run.config.logger
    if settings.name not in LOGGERS:
        raise ConfigurationError(
            f"logger.name = '{settings.name}' is no logger." + did_you_mean(settings.name, LOGGERS)
        )
    if settings.mode not in MODES:
        raise ConfigurationError(f"logger.mode = '{settings.mode}'; choose offline or online.")
    if settings.samples < 2:
        raise ConfigurationError(
            f"logger.samples = {settings.samples}; the table of samples shows at least 2: the most and least trusted."
        )


def lightning_logger(run: Run, stage: str, part: str, display: Display) -> Logger | bool:
    """The logger of one training, of which a stage may have several."""
    name = run.config.logger.name
    if name == "csv":
        return CSVLogger(run.folder / "logs", name=f"train-{part}", version="")
    if name == "wandb":
        from genuq.stages import wandb_logging  # only whoever asks for wandb needs it

        return wandb_logging.training_logger(run, stage, part, display)
    return False


def observe(run: Run, stage: str, folder: StageFolder, display: Display) -> None:
    """Log a finished stage, whether it was made now or found."""
    name = run.config.logger.name
    if name == "csv" and stage == "evaluate":
        numbers = evaluation_numbers(run, files.read_json(folder.path / "evaluation.json"))
        lines = [f"{name},{value!r}" for name, value in numbers.items()]
        files.write_text(run.folder / "logs" / "evaluation.csv", "\n".join(["name,value", *lines]) + "\n")
    elif name == "wandb":
        from genuq.stages import wandb_logging

        wandb_logging.observe(run, stage, folder, display)


def evaluation_numbers(run: Run, evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Those of the study's record, `entropy/auroc`, and of the own posterior's scale, `posterior/temperature`."""
    from genuq.stages.fit import OWN  # stages are observed from here, and import this
    from genuq.stages.recording import numbers_of
    from genuq.stages.stage import STAGES

    scale = STAGES["fit"].folder(run).notes()["posteriors"][OWN]["scale"]
    numbers = {f"posterior/{key}": float(value) for key, value in scale.items() if isinstance(value, int | float)}
    return numbers_of(evaluation) | numbers
