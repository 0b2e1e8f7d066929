"""The register of families of pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from genuq.errors import ConfigurationError, did_you_mean
from genuq.parts import Part, Register
from genuq.pretrained.family import Family


@dataclass(frozen=True, kw_only=True)
class FamilyPart(Part):
    """A family of pipelines: a subclass of `Family`.

    Attributes:
        pipelines: names of the classes of the pipelines that it reads.
    """

    group: str = "family"
    pipelines: Sequence[str]
    product: ClassVar[type | None] = Family
    needs_images: bool = True

    @property
    def leading(self) -> int:
        return 2  # the pipeline, and what is asked of it


FAMILIES = Register(FamilyPart, "genuq.pretrained.families", "model.family")


def pipelines() -> dict[str, FamilyPart]:
    """The family of each class of pipelines that is known."""
    return {name: part for part in FAMILIES.values() for name in part.pipelines}


def family_of(names: Sequence[str]) -> Any:
    """The family (a class) of a pipeline.

    Args:
        names: of its class, and of those that it is a subclass of, nearest first.

    Raises:
        ConfigurationError: none of them is known.
    """
    known = pipelines()
    for name in names:
        if name in known:
            return known[name].resolve()
    raise ConfigurationError(
        f"genuq does not know pipelines of the class '{names[0]}'.{did_you_mean(names[0], known)} Register a family "
        "for it (CONTRIBUTING.md), or wrap its network in genuq.GenerativeModel with a `call` of your own."
    )
