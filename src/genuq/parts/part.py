"""One part of genuq as a register lists it: what it is called, what makes it, and what a reader is told of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Self

from genuq.errors import ConfigurationError, did_you_mean
from genuq.parts.bounds import check, declared
from genuq.parts.options import as_wanted, options_of, parameters_of
from genuq.parts.targets import full_path, located


@dataclass(frozen=True, kw_only=True)
class Part:
    """A class or function that a configuration can name. Each group has a subclass with what else it must know.

    Attributes:
        group: of parts that can stand for each other: posterior, score, network, ...
        name: in configurations, files and tables.
        target: what makes it: a class, a function, or `module:attribute`, which is imported on first use.
        label: what a reader is shown.
        description: a sentence for the report's glossary.
        kind: of what sort it is within its group, for instance score, baseline, control or oracle.
        lower_is_better: the direction of its numbers, where they have one.
        needs_images: cannot work on points.
        internal: parameters of the target that no configuration gives, though a caller of the library may.
        distribution: the package that brought it, `name version`; None for genuq's own parts and for class paths.

    Class attributes:
        product: what the target makes; a class must be a subclass of it.
        named_by: the attribute of the target that has its name.
    """

    group: str
    name: str
    target: Any
    label: str = ""
    description: str = ""
    kind: str = ""
    lower_is_better: bool | None = None
    needs_images: bool = False
    internal: frozenset[str] = frozenset()
    distribution: str | None = None

    product: ClassVar[type | None] = None
    named_by: ClassVar[str] = "name"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", self.name):
            raise ConfigurationError(
                f"'{self.name}' cannot be the name of a {self.group}: letters, digits and underscores, a letter first."
            )
        if not self.label:
            object.__setattr__(self, "label", self.name.replace("_", " ").capitalize())

    @property
    def supplied(self) -> frozenset[str]:
        """Names of the target's parameters that genuq gives; they are no options, and it need not have them."""
        return frozenset()

    @property
    def leading(self) -> int:
        """How many of the target's first parameters genuq gives by position; they are no options."""
        return 0

    @property
    def path(self) -> str:
        """`module:attribute` of the target."""
        return self.target if isinstance(self.target, str) else full_path(self.target)

    @property
    def builtin(self) -> bool:
        """Whether it is genuq's own."""
        return self.path.split(":")[0].split(".")[0] == "genuq"

    def resolve(self) -> Any:
        """The class or function, imported now if it is given by its path.

        Raises:
            ConfigurationError: it cannot be imported, or is not what its group asks for; says what to mend.
        """
        found = located(self.target, self._whence) if isinstance(self.target, str) else self.target
        if not self.builtin and (problem := self.problem_of(found)):
            raise ConfigurationError(f"{self._whence} {problem}")
        return found

    @property
    def _whence(self) -> str:
        source = f", of the installed package {self.distribution}," if self.distribution else ""
        return f"{self.group} '{self.name}' ({self.path}){source}"

    @classmethod
    def problem_of(cls, target: Any) -> str | None:
        """Why this object cannot be a part of the group; None if it can."""
        if not callable(target):
            return f"is a {type(target).__name__}, not a class or a function."
        if isinstance(target, type) and cls.product is not None and not issubclass(target, cls.product):
            return f"is not a subclass of {cls.product.__module__}.{cls.product.__name__}."
        return None

    @classmethod
    def of(cls, target: Any, **facts: Any) -> Self:
        """The entry of a class or function, named and described by what it says of itself unless told otherwise."""
        own = getattr(target, cls.named_by, None)
        facts.setdefault("name", own if isinstance(own, str) else snake_case(target.__name__))
        facts.setdefault("description", first_sentence(target))
        return cls(target=target, **facts)

    @property
    def options(self) -> type:
        """A dataclass of plain types whose fields and defaults are the part's options; see `options_of`."""
        return options_of(self.resolve(), self.supplied | self.internal, self.leading)

    @property
    def parameters(self) -> list[str]:
        """Names of the target's parameters behind the leading ones, options or not."""
        return list(parameters_of(self.resolve(), (), self.leading))

    @property
    def option_names(self) -> list[str]:
        return [each.name for each in fields(self.options)]

    def make(self, *given: Any, **options: Any) -> Any:
        """What the target makes of what genuq gives and of the options.

        Args:
            given: the leading parameters.
            options: by name, with what is `supplied`, of which the target gets what it has parameters for; lists
                become tuples where it wants tuples.

        Raises:
            ConfigurationError: an option that it does not have, with the nearest it has; one that it needs is missing;
                what it makes is not what the group asks for.
        """
        target, known = self.resolve(), parameters_of(self.resolve(), (), self.leading)
        options = {name: value for name, value in options.items() if name in known or name not in self.supplied}
        self.check_options(options)
        made = target(*given, **as_wanted(target, options))
        if self.product is not None and not isinstance(made, self.product):
            raise ConfigurationError(
                f"{self._whence} made a {type(made).__name__}, not a {self.product.__module__}.{self.product.__name__}."
            )
        return made

    def check_options(self, options: Mapping[str, Any], place: str | None = None) -> None:
        """Raise ConfigurationError for options that the target has not, or that it needs and has no default for, and
        for values outside the bounds that an option was declared with.

        Args:
            place: dotted key where a configuration has the options; None: they were given by a program.
        """
        said = f"{self.group} '{self.name}': " if place is None else f"{place}."
        target = self.resolve()
        known = parameters_of(target, (), self.leading)
        all_names = list(dict.fromkeys([*self.option_names, *known]))
        if not _takes_any(target):
            for option in options:
                if option not in known:
                    whence = "" if place is None else f"{place}.{option}: "
                    raise ConfigurationError(
                        f"{whence}{self.group} '{self.name}' has no option '{option}'.{did_you_mean(option, all_names)}"
                    )
        needed = [each.name for each in fields(self.options) if each.default is each.default_factory is MISSING]
        if missing := [name for name in needed if name not in options]:
            raise ConfigurationError(f"{self.group} '{self.name}' needs {', '.join(sorted(missing))}.")
        bounds = declared(target)
        for name in [name for name in self.option_names if name in options]:
            check(f"{said}{name}", options[name], bounds.get(name, Any))


def _takes_any(target: Callable[..., Any]) -> bool:
    return any(each.kind is inspect.Parameter.VAR_KEYWORD for each in inspect.signature(target).parameters.values())


def snake_case(name: str) -> str:
    """`SpectralNoise` as `spectral_noise`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def first_sentence(target: Any) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(target) or "").split("\n")[0].strip()
