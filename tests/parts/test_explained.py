"""Words of options out of docstrings."""

from __future__ import annotations

from genuq.parts.explained import entries, explained


class Base:
    """A base.

    Attributes:
        rank: of the
            base.
        width, height: in pixels.
    """


class Mine(Base):
    """Mine.

    One line with a colon: of no section.

    Args:
        rank: of mine, or
            none: all of them.
        seed: keys it.

    Raises:
        ValueError: never.
    """


def mine(x: int) -> int:
    """Without sections."""
    return x


def test_words_are_those_of_the_nearest_class() -> None:
    assert explained(Mine) == {
        "rank": "of mine, or none: all of them.",
        "seed": "keys it.",
        "width": "in pixels.",
        "height": "in pixels.",
    }
    assert explained(Base)["rank"] == "of the base."


def test_sections_end_and_need_not_be_there() -> None:
    assert explained(mine) == {} and entries("") == {}
    assert entries("Args:\n    a: one.\nReturns:\n    b: two.\n") == {"a": "one."}
