"""`model._target_=PATH`: a function of the user's own as an option of the group `model`, with keys of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from genuq.errors import ConfigurationError
from genuq.parts import Part, plugged

KEY = "model._target_"


def with_model_options(overrides: Sequence[str]) -> list[str]:
    """The overrides with each `model._target_=PATH` as the choice of an option `model=PATH`, which Hydra now knows.

    Raises:
        ConfigurationError: no such function, or `model=` beside it.
    """
    texts, named = list(overrides), [text for text in overrides if text.lstrip("+").startswith(f"{KEY}=")]
    if named and (other := [text for text in texts if text.startswith("model=")]):
        raise ConfigurationError(f"{other[0]} and {named[0]} both say which model it is. Leave out one of them.")
    return [_chosen(text) if text in named else text for text in texts]


def _chosen(text: str) -> str:
    paths = _paths(text)
    for path in paths:
        enter(path)
    return f"model={','.join(paths)}"


def _paths(text: str) -> list[str]:
    try:
        override = OverridesParser.create().parse_override(text.lstrip("+"))
    except HydraException as error:
        raise ConfigurationError(f"{text}: give the path of a function, package.module.name.") from error
    swept = override.is_choice_sweep() and not override.is_interval_sweep()
    values: Iterable[object] = override.sweep_iterator() if swept else [override.value()]
    return [str(value) for value in values]


def enter(path: str) -> None:
    """Make `model=PATH` an option.

    Raises:
        ConfigurationError: there is no such function.
    """
    part = plugged(path, "model", KEY)
    ConfigStore.instance().store(group="model", name=path, node=schema_of(part, path))


def schema_of(part: Part, path: str) -> type:
    """The keys of the model that a function builds: its name, its class path, and the function's own options."""
    own = [each.name for each in dataclasses.fields(part.options)]
    if "name" in own:
        raise ConfigurationError(
            f"{KEY} = '{path}': its parameter 'name' would be model.name, which is the model's name. Rename it."
        )
    named = [("name", str, dataclasses.field(default=part.name)), ("_target_", str, dataclasses.field(default=path))]
    return dataclasses.make_dataclass(part.options.__name__, named, bases=(part.options,), kw_only=True)
