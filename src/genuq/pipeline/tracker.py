"""What watches a run: a protocol, and which trackers there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from genuq.display import Display
from genuq.errors import ConfigurationError, did_you_mean
from genuq.store.artefact import StageFolder

if TYPE_CHECKING:
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


class Tracker(Protocol):
    """Looks on while a run goes; no result depends on it."""

    def training_logger(self, run: Run, stage: str, part: str, display: Display) -> Any:
        """Lightning's logger of one training, of which a stage may have several; False for none."""

    def observe(self, run: Run, stage: str, folder: StageFolder, display: Display) -> None:
        """Log a finished stage, whether it was made now or found."""


class NoTracker:
    """Nobody looks on."""

    def training_logger(self, run: Run, stage: str, part: str, display: Display) -> Any:
        return False

    def observe(self, run: Run, stage: str, folder: StageFolder, display: Display) -> None:
        return
