"""Options of parts: read off what builds them, in types that a configuration file can hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import pytest
from omegaconf import OmegaConf
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.parts import GROUPS, Part, options_of, register_of


def everything(
    layer: Any,
    count: int,
    rate: float = 0.5,
    flag: bool = False,
    name: str | None = None,
    mode: Literal["a", "b"] = "a",
    window: tuple[float, float] = (0.8, 1.0),
    sizes: Sequence[int] = (1, 2),
    layers: str | Sequence[str] = "all",
    root: str | Path | None = None,
    variance: float | Tensor | None = None,
    table: Mapping[str, float] | None = None,
    hook: Callable[[], None] | None = None,
    *,
    number: int | float = 1,
) -> None:
    """Takes whatever a parameter may be."""


EXPECTED: dict[str, tuple[Any, Any]] = {
    "count": (int, MISSING),
    "rate": (float, 0.5),
    "flag": (bool, False),
    "name": (str | None, None),
    "mode": (str, "a"),
    "window": (list[float], [0.8, 1.0]),
    "sizes": (list[int], [1, 2]),
    "layers": (list[str], ["all"]),
    "root": (str | None, None),
    "variance": (float | None, None),
    "table": (dict[str, Any] | None, None),
    "number": (float, 1),
}


def of_fields(made: type) -> dict[str, tuple[Any, Any]]:
    found = {}
    for each in fields(made):
        default = each.default if each.default_factory is MISSING else each.default_factory()
        found[each.name] = (each.type, default)
    return found


def test_a_signature_becomes_a_dataclass_of_plain_types() -> None:
    assert of_fields(options_of(everything, leading=1)) == EXPECTED
    assert list(of_fields(options_of(everything, frozenset({"rate", "flag"}), 1))) == [
        name for name in EXPECTED if name not in ("rate", "flag")
    ]


def test_a_dataclass_gives_its_own_fields_each_with_a_default_of_its_own() -> None:
    @dataclass(frozen=True)
    class How:
        window: tuple[float, float] = (0.4, 0.8)
        names: list[str] = field(default_factory=lambda: ["x"])

    made = options_of(How)
    assert of_fields(made) == {"window": (list[float], [0.4, 0.8]), "names": (list[str], ["x"])}
    first, second = made(), made()
    first.names.append("y")
    assert second.names == ["x"]


def test_lists_reach_the_target_as_tuples_where_it_wants_them() -> None:
    found = Part(group="thing", name="thing", target=windowed).make(window=[0.1, 0.2], sizes=[4])
    assert found == ((0.1, 0.2), [4])


def windowed(window: tuple[float, float] = (0.0, 1.0), sizes: Sequence[int] = ()) -> tuple[Any, Any]:
    return window, sizes


def test_a_wrong_or_a_missing_option_is_named() -> None:
    part = Part(group="thing", name="windowed", target=windowed)
    with pytest.raises(ConfigurationError, match=r"thing 'windowed' has no option 'windw'\. Did you mean 'window'"):
        part.make(windw=[0, 1])
    with pytest.raises(ConfigurationError, match=r"needs count, layer\.$"):
        Part(group="thing", name="everything", target=everything).make(rate=1.0)


@pytest.mark.parametrize("group", GROUPS)
def test_every_part_has_a_label_and_options_that_a_structured_configuration_takes(group: str) -> None:
    register = register_of(group)
    assert len(register) >= (0 if group == "model" else 2)  # genuq's own models are configurations, not functions
    for name, part in register.items():
        assert part.name == name and part.label and part.group == group and part.builtin
        node = OmegaConf.structured(part.options)
        assert set(node) == set(part.option_names)
    labels = [part.label for part in register.values()]
    assert len(set(labels)) == len(labels)
