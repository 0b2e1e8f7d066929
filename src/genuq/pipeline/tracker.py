"""Which trackers there are, and what is checked of the one that a run asks for."""

from __future__ import annotations

from genuq.errors import ConfigurationError, did_you_mean
from genuq.pipeline.run import Run

LOGGERS = ("csv", "wandb", "none")


def check_logger(run: Run) -> None:
    """Raise ConfigurationError for an unknown logger."""
    settings = run.config.logger
    if settings.name not in LOGGERS:
        raise ConfigurationError(
            f"logger.name = '{settings.name}' is no logger." + did_you_mean(settings.name, LOGGERS)
        )
