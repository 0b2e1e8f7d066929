"""A folder of the user's own options and experiments: `--config-dir DIR`, or `hydra.searchpath=[file://DIR]`.

DIR/posterior/mine.yaml makes `posterior=mine` exist, DIR/experiment/mine.yaml `experiment=mine`. Both ways in become
one override, `hydra.searchpath`, which all that composes a configuration reads: the check, sweeps, the plan, launchers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from genuq.errors import ConfigurationError

OUTPUTS = "outputs"  # beside which own options may lie
SEARCH_PATH = "hydra.searchpath"  # the key, and the beginning of what Hydra calls its entries' provider


def with_folders(overrides: Sequence[str], folders: Sequence[str | Path]) -> list[str]:
    """The overrides with one `hydra.searchpath` at their end, if any folder is searched, and absolute paths in it.

    Args:
        overrides: as typed; they may have a `hydra.searchpath` of their own, which comes after the folders.
        folders: of `--config-dir`.

    Raises:
        ConfigurationError: a `hydra.searchpath` that is no list of folders.
    """
    entries = [f"file://{folder}" for folder in folders] + search_path(overrides)
    kept = [text for text in overrides if not _is_search_path(text)]
    if not entries:
        return kept
    quoted = ",".join(QuotedString(_absolute(entry), Quote.single).with_quotes() for entry in entries)
    return [*kept, f"{SEARCH_PATH}=[{quoted}]"]


def search_path(overrides: Iterable[str]) -> list[str]:
    """The entries of all `hydra.searchpath` among the overrides; raises as `with_folders`."""
    found: list[str] = []
    for text in filter(_is_search_path, overrides):
        try:
            value: Any = OverridesParser.create().parse_override(text.lstrip("+")).value()
        except HydraException:
            value = None
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise ConfigurationError(f"{text}: a list of folders is needed: {SEARCH_PATH}=[file:///my/options].")
        found += value
    return found


def folders_of(entries: Iterable[str]) -> tuple[Path, ...]:
    """Folders of entries of Hydra's search path, `PATH`, `file://PATH` or `pkg://MODULE`; none of what has no files."""
    return tuple(folder for entry in entries for folder in _folders(entry))


def searched(overrides: Iterable[str], shipped: Path) -> list[Path]:
    """The folders in which options are looked for, in their order: genuq's own, then the user's.

    Raises:
        ConfigurationError: there is no such folder, or a file in it that would never be read.
    """
    own = search_path(overrides)
    for entry in own:
        folders = _folders(entry)
        if not folders or not all(os.path.isdir(folder) for folder in folders):
            raise ConfigurationError(
                f"{SEARCH_PATH} (--config-dir): there is no folder {entry.removeprefix('file://')}. Correct the path, "
                "or leave it out."
            )
        for folder in folders:
            _require_no_namesakes(folder, shipped)
    return [shipped, *folders_of(own)]


def options_of(group: str, folders: Iterable[Path]) -> list[str]:
    """Names of the options of a group that lie in the folders."""
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def option_files(folder: Path) -> Iterator[Path]:
    """The YAML files that may be options, in a fixed order: all but those of hidden folders and of runs."""
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(root)) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        passed = {OUTPUTS} if Path(root) == folder else set()
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in passed)
        yield from (Path(root) / name for name in sorted(names) if name.endswith(".yaml"))


def _is_search_path(text: str) -> bool:
    return text.lstrip("+").startswith(f"{SEARCH_PATH}=")


def _absolute(entry: str) -> str:
    scheme, _, place = entry.rpartition("://")
    return f"file://{Path(place).expanduser().absolute()}" if scheme in ("", "file") else entry


def _folders(entry: str) -> list[Path]:
    scheme, _, place = entry.rpartition("://")
    if scheme in ("", "file"):
        return [Path(place).expanduser()]
    if scheme != "pkg":
        return []
    try:
        spec = find_spec(place.replace("/", "."))
    except (ModuleNotFoundError, ValueError):
        return []
    return [] if spec is None else [Path(location) for location in spec.submodule_search_locations or ()]


def _require_no_namesakes(folder: Path, shipped: Path) -> None:
    """Raise ConfigurationError for a file named like one of genuq's, which comes first."""
    if folder.resolve() == shipped.resolve():
        return
    for path in sorted(shipped.rglob("*.yaml")):
        if (folder / path.relative_to(shipped)).is_file():
            name = path.relative_to(shipped)
            raise ConfigurationError(
                f"{folder / name} would never be read: genuq has a {name} of its own. Give yours another name; it may "
                f"begin with `defaults: [{name.stem}, _self_]` and change what it likes."
            )
