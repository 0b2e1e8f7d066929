"""Which trackers there are, and what is checked of the one that a run asks for."""

from __future__ import annotations

from genuq.errors import ConfigurationError, did_you_mean
from genuq.pipeline.run import Run

LOGGERS = ("csv", "wandb", "none")
MODES = ("offline", "online")


def check_logger(run: Run) -> None:
    """Raise ConfigurationError for an unknown logger or mode, or for no rows in the table of samples."""
    settings = run.config.logger
    if settings.name not in LOGGERS:
        raise ConfigurationError(
            f"logger.name = '{settings.name}' is no logger." + did_you_mean(settings.name, LOGGERS)
        )
    if settings.name != "wandb":
        return
    if settings.mode not in MODES:
        raise ConfigurationError(f"logger.mode = '{settings.mode}'; choose offline or online.")
    if settings.samples < 2:
        raise ConfigurationError(
            f"logger.samples = {settings.samples}; the table of samples shows at least 2: the most and least trusted."
        )
