"""Parts of installed packages: each entry point of the group `genuq.parts` brings one or several."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Iterable
from dataclasses import dataclass, replace

from genuq.parts.part import Part

GROUP = "genuq.parts"


@dataclass(frozen=True)
class Broken:
    """A plug-in, or a part of one, that cannot be used.

    Attributes:
        name: of the entry point or of the part.
        distribution: the package, `name version`.
        reason: what is wrong and what to do, as a sentence.
    """

    name: str
    distribution: str
    reason: str

    @property
    def sentence(self) -> str:
        return f"'{self.name}' of the installed package {self.distribution} cannot be used: {self.reason}"


@dataclass(frozen=True)
class Installed:
    """What the installed packages bring: their parts, and those plug-ins that could not be loaded."""

    parts: tuple[Part, ...]
    broken: tuple[Broken, ...]


@functools.cache
def installed() -> Installed:
    """All parts of all entry points; loaded once, when a register is first asked for a name."""
    parts: list[Part] = []
    broken: list[Broken] = []
    found = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: (point.name, point.value))
    for point in found:
        source = _distribution(point)
        try:
            parts += [replace(part, distribution=source) for part in _parts_in(point.load())]
        except Exception as error:  # whatever a foreign package raises; the others go on
            broken.append(Broken(point.name, source, f"{type(error).__name__}: {error}. Mend or uninstall it."))
    return Installed(tuple(parts), tuple(broken))


def _distribution(point: importlib.metadata.EntryPoint) -> str:
    found = point.dist
    return point.value.split(".")[0] if found is None else f"{found.name} {found.version}"


def _parts_in(loaded: object) -> list[Part]:
    """A part, several, or a function that returns them, as a list."""
    if callable(loaded) and not isinstance(loaded, Part):
        loaded = loaded()
    found = [loaded] if isinstance(loaded, Part) or not isinstance(loaded, Iterable) else list(loaded)
    parts = [part for part in found if isinstance(part, Part)]
    if len(parts) < len(found):
        raise TypeError(f"{GROUP} must be genuq.parts.Part or lists of them, not {type(found[0]).__name__}")
    return parts
