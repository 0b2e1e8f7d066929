"""Hydra's launchers and sweepers beyond its own: each needs a package that comes with an extra of genuq."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from genuq.errors import ConfigurationError

EXTRAS = {  # option: (module, extra)
    "hydra/launcher=joblib": ("hydra_plugins.hydra_joblib_launcher", "joblib"),
    "hydra/launcher=submitit_local": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "hydra/launcher=submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "hydra/launcher=ray": ("hydra_plugins.hydra_ray_launcher", "ray"),
    "hydra/sweeper=search": ("optuna", "optuna"),
}


def check_plugins(texts: Sequence[str]) -> None:
    """Raise ConfigurationError, with the extra to install, where the overrides choose a plugin that is not there."""
    if "hydra/sweeper=optuna" in texts:
        raise ConfigurationError("hydra/sweeper=optuna is another package's; choose hydra/sweeper=search.")
    for option, (module, extra) in EXTRAS.items():
        if option in texts and not is_installed(module):
            raise ConfigurationError(f"{option} needs a package that is not installed: pip install 'genuq[{extra}]'.")


def is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor any other plugin
        return False
