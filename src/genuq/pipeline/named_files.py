"""Files that a configuration names, looked at before anything starts, whether this run reads them or not."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from genuq.errors import ConfigurationError
from genuq.models.checkpoints import REFERENCE, require_checkpoint
from genuq.models.register import FILE
from genuq.pipeline.configured import checkpoint_path, model_part, reference_name
from genuq.pipeline.posteriors import key_of
from genuq.pipeline.run import Run
from genuq.pipeline.shared_scores import weak_checkpoint
from genuq.store.remote import remote_of
from genuq.training.member_settings import finished_members


def check_named_files(run: Run) -> None:
    """Raise ConfigurationError for a checkpoint that is not there, or a store that cannot be written.

    Raises:
        CheckpointError: a file of another format, with how to bring it in.
    """
    check_store(run)
    if (start := run.config.trainer.start_from) is not None:
        require_checkpoint(Path(start).expanduser(), "trainer.start_from")
    if (weak := weak_checkpoint(run)) is not None:
        require_checkpoint(weak, "score.weak_checkpoint")
    chosen = run.config.model.get("checkpoint")
    if takes_no_weights(run) and chosen not in (None, REFERENCE):
        require_checkpoint(checkpoint_path(run), "model.checkpoint")
    for name, settings in run.posteriors().items():
        if settings.get("checkpoints") is not None:
            key = f"{key_of(name)}.checkpoints"
            for path in finished_members(settings["checkpoints"], reference_name(run), settings["name"], key):
                require_checkpoint(path, key)


def takes_no_weights(run: Run) -> bool:
    """Whether a checkpoint of the model can only be one of genuq's: its function, if it has one, takes none."""
    part = model_part(run)
    return part is None or FILE not in part.own_options


def check_store(run: Run) -> None:
    """Raise ConfigurationError for a store in a place that cannot be written, StorageError for such an object store."""
    if (remote := remote_of(run.store)) is not None:
        remote.check()
    existing = next(place for place in (run.store, *run.store.parents) if os.path.lexists(place))
    said = f"store = {run.config.store}: "
    if not existing.is_dir():
        raise ConfigurationError(f"{said}{existing} is no folder. Choose another place.")
    if not os.access(existing, os.W_OK | os.X_OK) or not _can_be_made(run.store, existing):
        raise ConfigurationError(
            f"{said}{existing} cannot be written, or takes no such name. Choose another place, or change its rights."
        )


def _can_be_made(store: Path, existing: Path) -> bool:
    """Whether the file system takes the folders that a store still lacks: tried beside it, as others may make it now.

    Rights do not tell: a name may be too long, and some file systems refuse the superuser as well.
    """
    if store == existing:
        return True
    try:
        with TemporaryDirectory(dir=existing) as trial:
            (Path(trial) / store.relative_to(existing)).mkdir(parents=True)
    except OSError:
        return False
    return True
