"""Where the numbers of a run also go: a CSV file, or Weights & Biases. A logger looks on; no result depends on it."""

from __future__ import annotations

from lightning.pytorch.loggers import CSVLogger, Logger

from genuq import files
from genuq.analysis.results import read_evaluation
from genuq.display import Display
from genuq.pipeline.run import Run
from genuq.store.artefact import StageFolder


def lightning_logger(run: Run, stage: str, part: str, display: Display) -> Logger | bool:
    """The logger of one training, of which a stage may have several."""
    name = run.config.logger.name
    if name == "csv":
        return CSVLogger(run.folder / "logs", name=f"train-{part}", version="")
    if name == "wandb":
        from genuq.tracking import wandb_run  # only whoever asks for wandb needs it

        return wandb_run.training_logger(run, stage, part, display)
    return False


def observe(run: Run, stage: str, folder: StageFolder, display: Display) -> None:
    """Log a finished stage, whether it was made now or found."""
    name = run.config.logger.name
    if name == "csv" and stage == "evaluate":
        from genuq.tracking.numbers import evaluation_numbers  # stages are observed from here, and it imports them

        numbers = evaluation_numbers(run, read_evaluation(folder.path))
        lines = [f"{name},{value!r}" for name, value in numbers.items()]
        files.write_text(run.folder / "logs" / "evaluation.csv", "\n".join(["name,value", *lines]) + "\n")
    elif name == "wandb":
        from genuq.tracking import wandb_run

        wandb_run.observe(run, stage, folder, display)
