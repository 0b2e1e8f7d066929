"""Values that can be known to be wrong without any other: names that become files, and the seed."""

from __future__ import annotations

from omegaconf import DictConfig

from genuq.errors import ConfigurationError

LONGEST = 200  # bytes of a name; file systems take 255, with what is put before and after it
LARGEST_SEED = 2**32 - 1  # of NumPy's and Lightning's generators


def check_values(config: DictConfig) -> None:
    """Raise ConfigurationError for a name that is empty or too long, or a seed that no generator takes."""
    _check_name("name", config.name)
    if config.study is not None:
        _check_name("study", config.study)
    for name in config.beside:
        _check_name("posterior@beside.NAME", str(name))
    if not 0 <= config.seed <= LARGEST_SEED:
        raise ConfigurationError(f"seed = {config.seed}; choose one from 0 to {LARGEST_SEED}.")


def _check_name(key: str, name: str) -> None:
    """Each part between slashes becomes a file's name."""
    if not name:
        raise ConfigurationError(f"{key} is empty, and a folder is named by it. Give it at least a letter.")
    for part in name.split("/"):
        if (size := len(part.encode())) > LONGEST:
            raise ConfigurationError(
                f"{key} = '{part[:40]}...' has {size} bytes, and names a folder: at most {LONGEST} are possible."
            )
