"""Keys of options: those of the part, and what its group shares, with the library's own types and defaults."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest
from omegaconf import MissingMandatoryValue, OmegaConf
from omegaconf.errors import ValidationError

from genuq.config import options
from genuq.config.options import GROUPS, keys_of, names_of, node_of, owners, taken
from genuq.errors import ConfigurationError
from genuq.models import Sampler
from genuq.parts import register_of


@dataclass
class Shared:
    """Three options, of which one must be given."""

    count: int
    rate: float = 0.5
    names: list[str] = dataclasses.field(default_factory=lambda: ["x"])


def test_options_of_a_dataclass_are_taken_by_name_or_all_but_some() -> None:
    assert list(taken(Shared)) == ["count", "rate", "names"] and list(taken(Shared, "rate")) == ["rate"]
    assert list(taken(Shared, without=["rate"])) == ["count", "names"]
    assert list(options.renamed(taken(Shared, "rate"), "map_")) == ["map_rate"]
    kind, default = options.optional(taken(Shared, "rate"))["rate"]
    assert kind == float | None and default.default is None


def test_fields_of_two_configurations_share_nothing() -> None:
    entry = taken(Shared, "names")["names"][1]
    first, second = (options.field_of(entry).default_factory() for _ in range(2))
    first.append("y")
    assert second == ["x"] and options.same(entry, taken(Shared, "names")["names"][1])
    assert options.field_of(taken(Shared)["count"][1]).default == "???"


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_has_the_keys_of_its_part_and_its_name(group: str) -> None:
    known = GROUPS[group]
    for name in names_of(group):
        node: Any = node_of(group, name)
        assert list(node) == list(keys_of(group, name))
        if known.parts is not None and group != "score":
            assert node.name == name
            own = register_of(known.parts)[name].option_names if group not in ("posterior",) else ()
            assert set(own) <= set(node)


def test_defaults_are_the_librarys() -> None:
    node, sampler = node_of("sampler", "heun"), Sampler()
    for key in ("steps", "spacing", "guidance_scale", "batch_size"):
        assert node[key] == getattr(sampler, key)


def test_values_are_typed_and_what_must_be_given_is_missing() -> None:
    node = node_of("sampler", "heun")
    with pytest.raises(ValidationError):
        node.steps = "many"
    count = ("count", int, options.field_of(taken(Shared)["count"][1]))
    made = OmegaConf.structured(dataclasses.make_dataclass("Made", [count]))
    with pytest.raises(MissingMandatoryValue):
        _ = made.count


def test_who_has_a_key_and_who_is_not_there() -> None:
    assert "rank" in keys_of("posterior", "swag") and "swag" in owners("posterior", "rank")
    assert "exact_laplace" not in owners("posterior", "rank") and owners("sampler", "zeal") == []
    with pytest.raises(ConfigurationError, match=r"posterior\.name.*Did you mean 'swag'"):
        keys_of("posterior", "swga")
