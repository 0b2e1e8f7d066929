"""What values an option can have: as its type and the bounds beside it say, and no other; tensors are left alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.parts import Part
from genuq.parts.bounds import (
    Count,
    Items,
    Limits,
    OneOf,
    Positive,
    Probability,
    Rate,
    Seed,
    Several,
    Share,
    Window,
    at_least,
    check,
    check_fields,
    check_options,
    declared,
    problem_of,
)

NAN, INFINITY = float("nan"), float("inf")
HINTS: dict[str, tuple[Any, list[Any], list[Any]]] = {  # what is right, and what is not
    "count": (Count, [1, 10**6], [0, -1, 1.5, True, "1", None, 2**40, [1]]),
    "several": (Several, [2], [1]),
    "seed": (Seed, [0, 2**32 - 1], [-1, 2**32]),
    "positive": (Positive, [1, 1e-30, 3e38], [0, 0.0, -1.0, NAN, INFINITY, 1e300, "many", True]),
    "share": (Share, [1.0, 1e-9], [0.0, 1.0001, NAN]),
    "probability": (Probability, [0.0, 1.0], [-1e-9, 2]),
    "rate": (Rate, [0.0, 0.999], [1.0, -0.1]),
    "plain number": (float, [-3.0, 0, 2], [NAN, INFINITY, -INFINITY, None, "x", [1.0]]),
    "word": (str, ["a"], ["", None, 3]),
    "path": (str | Path | None, ["a", Path("a"), None], ["", 3]),
    "truth": (bool, [True, False], [1, "yes", None]),
    "listed": (Annotated[str, OneOf("draws", "linear")], ["draws"], ["draw", "", None]),
    "literal": (Literal["a", "b"], ["a"], ["c", None]),
    "optional": (Count | None, [None, 3], [0, "x"]),
    "list": (Annotated[Sequence[Count], Items()], [[1], (2, 3)], [[], [1, 0], "1", 1, None, [1.5]]),
    "word or list": (str | Annotated[Sequence[str], Items()], ["all", ["a", "b"]], [[], "", [""], 3, None]),
    "distinct": (Annotated[list[str], Items(0, distinct=True)], [[], ["a", "b"]], [["a", "a"]]),
    "holding": (Annotated[list[float], Items(holding=1.0)], [[1.0, 0.5]], [[0.5]]),
    "at most": (Annotated[list[int], Items(1, 2)], [[1, 2]], [[1, 2, 3]]),
    "window": (Window, [(0.0, 1.0), [0.2, 0.3]], [(0.5, 0.5), (0.5, 0.2), (0.1,), (0.1, 2.0), (NAN, 1.0)]),
    "variance": (Positive | Tensor, [0.1, torch.tensor(-1.0)], [0.0, "x"]),
    "mapping": (Mapping[str, float], [{"a": 1.0}], ["a", 3]),
    "at least": (Annotated[float, at_least(0)], [0.0], [-1.0]),
    "between": (Annotated[float, Limits(least=0.5, below=1)], [0.5], [1.0]),
    "below": (Annotated[float, Limits(below=0)], [-1.0], [0.0]),
    "no type of ours": (Callable[..., Any], [3, None, NAN], []),
}


@pytest.mark.parametrize("name", HINTS)
def test_right_values_pass_and_others_do_not(name: str) -> None:
    hint, right, wrong = HINTS[name]
    assert [value for value in right if problem_of(value, hint) is not None] == []
    assert [value for value in wrong if problem_of(value, hint) is None] == []


@pytest.mark.parametrize(
    ("value", "hint", "said"),
    [
        (0, Count, "k = 0; at least 1 is needed."),
        (-0.5, Positive, "k = -0.5; it must be finite and above 0."),
        (NAN, Share, "k = nan; it must lie in (0, 1]."),
        (NAN, float, "k = nan; it must be finite."),
        (2**40, int, "k = 1099511627776; at most 2147483647 is possible."),
        ((1, 0), Annotated[tuple[Count, ...], Items()], "k = [1, 0]; of each entry, such as 0: at least 1 is needed."),
        ([], Annotated[list[int], Items(2, 2)], "k = []; exactly 2 entries are needed."),
        ("many", Count, "k = 'many'; a whole number is needed."),
        (
            "draw",
            Annotated[str, OneOf("draws", "linear")],
            "k = 'draw'; choose draws or linear (Did you mean 'draws'?).",
        ),
        ("x", Annotated[int, OneOf(8, 25)], "k = 'x'; a whole number is needed."),
        (9, Annotated[int, OneOf(8, 25)], "k = 9; choose 8 or 25."),
        (7.0, Annotated[float, Limits(most=5)], "k = 7.0; it must be at most 5."),
    ],
)
def test_the_sentence_names_key_value_and_what_would_be_right(value: Any, hint: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check("k", value, hint)
    assert str(caught.value) == said


@dataclass(frozen=True)
class Settings:
    steps: Count = 3
    layers: Annotated[Sequence[str], Items()] | None = None
    device: Any = None

    def __post_init__(self) -> None:
        check_fields(self, "group")


@dataclass(frozen=True)
class More(Settings):
    """Inherits from another class, whose types are those of its own module."""

    rate: Rate = 0.0


def test_a_dataclass_of_the_library_refuses_what_the_configuration_does() -> None:
    More(1, ["a"], object(), 0.5)
    for wrong, said in (({"steps": 0}, "group.steps = 0"), ({"rate": 1.0}, "group.rate"), ({"layers": []}, "layers")):
        with pytest.raises(ConfigurationError, match=said):
            More(**wrong)  # type: ignore[arg-type]


def network(shape: Sequence[int], width: Count = 8, scale: "Unknown" = 1) -> None:  # type: ignore[name-defined]  # noqa: F821, UP037
    pass


def block(width: Count = 8, dropout: Rate = 0.0) -> int:
    return width


def test_a_part_made_by_its_name_refuses_it_too() -> None:
    part = Part(group="network", name="block", target=block)
    assert part.make(width=4) == 4
    with pytest.raises(ConfigurationError, match=r"^network 'block': width = 0; at least 1 is needed\."):
        part.make(width=0)
    with pytest.raises(ConfigurationError, match=r"^network\.dropout = 1\.0; it must lie in \[0, 1\)\."):
        part.check_options({"dropout": 1.0}, "network")
    with pytest.raises(ConfigurationError, match=r"^network\.depth: network 'block' has no option 'depth'"):
        part.check_options({"depth": 1}, "network")
    with pytest.raises(ConfigurationError, match=r"^width = 0"):
        check_options(block, width=0)


def test_types_that_cannot_be_read_say_nothing() -> None:
    assert declared(network) == {}
