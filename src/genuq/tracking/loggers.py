"""Where the numbers of a run also go: a CSV file, or Weights & Biases. A logger looks on; no result depends on it."""

from __future__ import annotations

from typing import Any

from genuq import files
from genuq.analysis.evaluation_entries import read_evaluation
from genuq.display import Display
from genuq.pipeline.run import Run
from genuq.report.drawing.spreadsheet import csv_table
from genuq.store.artefact import StageFolder
from genuq.store.scales import FULL
from genuq.tracking.numbers import evaluation_numbers


class Loggers:
    """The tracker that `logger=csv|wandb|none` asks for."""

    def training_logger(self, run: Run, stage: str, part: str, display: Display) -> Any:
        """Lightning's logger of one training, of which a stage may have several; False for none."""
        name = run.config.logger.name
        if name == "csv":
            from lightning.pytorch.loggers import CSVLogger  # slow to import

            return CSVLogger(run.folder / "logs", name=f"train-{part}", version="")
        if name == "wandb":
            from genuq.tracking import wandb_run  # only whoever asks for wandb needs it

            return wandb_run.training_logger(run, stage, part, display)
        return False

    def observe(self, run: Run, stage: str, folder: StageFolder, display: Display) -> None:
        """Log a finished stage, whether it was made now or found."""
        name = run.config.logger.name
        if name == "csv" and stage == "evaluate":
            numbers = evaluation_numbers(run, read_evaluation(folder.path))
            marks = [["scale", run.scale]] if run.scale != FULL else []
            rows = [["name", "value"], *marks, *numbers.items()]
            files.write_text(run.folder / "logs" / "evaluation.csv", csv_table(rows))
        elif name == "wandb":
            from genuq.tracking import wandb_run  # only whoever asks for wandb needs it

            wandb_run.observe(run, stage, folder, display)
