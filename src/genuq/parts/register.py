"""Registers: the parts of one group by name, those of genuq, of installed packages and of the running session."""

from __future__ import annotations

import functools
import importlib
import itertools
import pkgutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from genuq.errors import ConfigurationError, did_you_mean
from genuq.parts.entry_points import Broken, installed
from genuq.parts.part import Part
from genuq.parts.targets import full_path, named_object

P = TypeVar("P", bound=Part)
T = TypeVar("T", bound=Callable[..., Any])


@functools.cache
def _failure(part: Part) -> str | None:
    """Why an installed part cannot be imported, or is not what its group asks for; so that it stops nobody else."""
    try:
        part.resolve()
    except ConfigurationError as error:
        return str(error)
    return None


class Register(Generic[P]):
    """The parts of one group by name; a mapping that fills itself when it is first asked.

    genuq's own parts register themselves where they are defined (`add`): on first use all modules of `package` are
    imported, so that a new part is one file. Parts of installed packages come by entry points, those that a
    configuration names by class path through `plugged`. Genuq's come first, by module and then as they stand in it.

    Args:
        type: of the entries, a subclass of `Part` with the group's name as the default of `group`.
        package: dotted name of the package, or of the one module, where genuq's own parts are.
        key: where a configuration names one, for errors.
        fallback: makes an entry of a name that nobody registered, or returns None.
        unread: modules of the package that are slow to import and hold no entry.
        also: dotted names of further packages or modules that hold entries, which come later along the imports.
    """

    def __init__(
        self,
        type: type[P],
        package: str,
        key: str,
        fallback: Callable[[str], P | None] | None = None,
        unread: Collection[str] = (),
        also: Sequence[str] = (),
    ) -> None:
        self.unread = {f"{package}.{module}" for module in unread}
        self.type, self.package, self.key, self.fallback = type, package, key, fallback
        self.packages = (package, *also)
        self.group = str(type.__dataclass_fields__["group"].default)
        self._own: dict[str, tuple[tuple[int, str, int], P]] = {}
        self._count, self._searched = itertools.count(), False

    # Filling it

    def add(self, **facts: Any) -> Callable[[T], T]:
        """A decorator that registers the class or function under it; the facts are the fields of the entry."""

        def register(target: T) -> T:
            self.register(self.type.of(target, **facts))
            return target

        return register

    def register(self, part: P) -> P:
        """Enter a part; the same one again is no harm.

        Raises:
            ConfigurationError: it is of another group, or another part has its name.
        """
        if not isinstance(part, self.type):
            raise ConfigurationError(f"{part.group} '{part.name}' must be a {self.type.__name__} to be a {self.group}.")
        known = self._own.get(part.name)
        if known is not None and known[1].path != part.path:
            raise ConfigurationError(
                f"{self.group} '{part.name}' is registered already, as {known[1].path}. Give {part.path} another name."
            )
        module = part.path.split(":")[0]
        self._own[part.name] = ((int(not part.builtin), module, next(self._count)), part)
        return part

    def remove(self, name: str) -> None:
        """Take out a part of the running session."""
        self._own.pop(name, None)

    def _search(self) -> None:
        """Import the modules in which genuq's own parts stand."""
        if self._searched:
            return
        self._searched = True  # first, since these modules may ask the register
        for package in self.packages:
            found = importlib.import_module(package)
            for module in pkgutil.walk_packages(getattr(found, "__path__", []), f"{package}."):
                if module.name not in self.unread:
                    importlib.import_module(module.name)

    def _known(self) -> tuple[dict[str, P], list[Broken]]:
        """All parts by name, and what of the plug-ins cannot be used."""
        self._search()
        known = {part.name: part for _, part in sorted(self._own.values(), key=lambda entry: entry[0])}
        broken, own = [], set(known)
        for part in installed().parts:
            if part.group != self.group:
                continue
            if not isinstance(part, self.type):
                reason = f"it must be a {self.type.__module__}.{self.type.__name__} to be a {self.group}."
                broken.append(Broken(part.name, part.distribution or "", reason))
            elif part.name in known:
                other = "genuq itself" if part.name in own else known[part.name].distribution
                reason = f"{other} has a {self.group} of this name too. Rename it there, or uninstall the package."
                broken.append(Broken(part.name, part.distribution or "", reason))
            elif (failure := _failure(part)) is not None:
                broken.append(Broken(part.name, part.distribution or "", failure))
            else:
                known[part.name] = part
        return known, broken

    # Asking it

    def get(self, name: str, key: str | None = None) -> P:
        """The part called `name`.

        Args:
            key: where it was asked for; None takes the group's own key.

        Raises:
            ConfigurationError: there is none, with the nearest name; a plug-in of this name cannot be used, with the
                package that brought it and the reason.
        """
        known, broken = self._known()
        for each in broken:
            if each.name == name:
                raise ConfigurationError(f"{key or self.key}: {each.sentence}")
        if name in known:
            return known[name]
        if self.fallback is not None and (found := self.fallback(name)) is not None:
            return found
        lost = [each.sentence for each in installed().broken]
        raise ConfigurationError(
            " ".join([f"{key or self.key}: '{name}' does not exist.{did_you_mean(name, known)}", *lost])
        )

    def __getitem__(self, name: str) -> P:
        return self.get(name)

    def make(self, name: str, *given: Any, **options: Any) -> Any:
        """What the part called `name` makes; see `Part.make`."""
        return self.get(name).make(*given, **options)

    def names(self, **facts: Any) -> list[str]:
        """Names of the parts with these attributes, for instance kind="control"."""
        return [name for name, part in self.items() if all(getattr(part, key) == facts[key] for key in facts)]

    def broken(self) -> list[Broken]:
        """What of the installed packages cannot be used, as far as it can be this group's."""
        return [*self._known()[1], *installed().broken]

    def __contains__(self, name: object) -> bool:
        return name in self._known()[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known()[0])

    def __len__(self) -> int:
        return len(self._known()[0])

    def keys(self) -> Iterable[str]:
        return self._known()[0].keys()

    def values(self) -> Iterable[P]:
        return self._known()[0].values()

    def items(self) -> Iterable[tuple[str, P]]:
        return self._known()[0].items()

    # A class path

    def plugged(self, path: str, key: str | None = None) -> P:
        """The part at a class path that the user typed into the configuration; see `genuq.parts.plugged`."""
        key = key or f"{self.key.split('.')[0]}._target_"
        found = named_object(path, key)
        if isinstance(found, Part):
            if not isinstance(found, self.type):
                raise ConfigurationError(f"{key} = '{path}' is a part for {found.group}, not a {self.type.__name__}.")
            return self.register(found)
        if (problem := self.type.problem_of(found)) is not None:
            raise ConfigurationError(f"{key} = '{path}' {problem}")
        for part in self.values():
            if part.path == full_path(found):
                return part
        return self.register(self.type.of(found))
