"""What identifies a part in the fingerprint of an artefact: for genuq's own its name, for others also their code."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from genuq.errors import ConfigurationError
from genuq.parts.part import Part


def identity(part: Part) -> dict[str, Any]:
    """Plain data that change whenever the part's results may.

    Genuq's own parts have nothing but their name: their changes are told by the version of the stage that uses them.
    Others have their class path, the version of their package if it is installed as one, and the sha256 of the source
    of its top-level package (all its .py files, by their paths within it, so that it does not matter where it lies).

    Raises:
        ConfigurationError: its module has no source file.
    """
    if part.builtin:
        return {"name": part.name}
    module = importlib.import_module(part.path.split(":")[0])
    return {
        "name": part.name,
        "target": part.path,
        "distribution": part.distribution or _distribution_of(module.__name__.split(".")[0]),
        "sha256": source_sha256(module),
    }


def source_sha256(module: ModuleType) -> str:
    """Of all Python files of a module's top-level package, or of its one file.

    Raises:
        ConfigurationError: the module was not read from a file.
    """
    files = source_files(module)
    if not files:
        raise ConfigurationError(f"module '{module.__name__}' has no source file, so that a change could not be seen.")
    whole = hashlib.sha256()
    for name, path in files:
        content = path.read_bytes()
        whole.update(f"{name} {len(content)}\n".encode())
        whole.update(content)
    return whole.hexdigest()


def source_files(module: ModuleType) -> list[tuple[str, Path]]:
    """(name within the package, path) of all Python files of a module's top-level package, or of its one file."""
    top = sys.modules.get(module.__name__.split(".")[0], module)
    roots = [Path(place) for place in getattr(top, "__path__", [])]
    if not roots and (single := getattr(module, "__file__", None)):
        return [(Path(single).name, Path(single))]
    return sorted((str(path.relative_to(root)), path) for root in roots for path in root.rglob("*.py"))


def files_of(part: Part) -> list[Path]:
    """The Python files whose content `identity` covers; none of genuq's own parts."""
    if part.builtin:
        return []
    return [path for _, path in source_files(importlib.import_module(part.path.split(":")[0]))]


@functools.cache
def _distribution_of(package: str) -> str | None:
    """`name version` of the installed distribution that a top-level package belongs to."""
    names = importlib.metadata.packages_distributions().get(package)
    return f"{names[0]} {importlib.metadata.version(names[0])}" if names else None
