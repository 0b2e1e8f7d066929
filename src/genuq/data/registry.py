"""The register of data sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from genuq.data.base import Dataset
from genuq.parts import Part, Register


@dataclass(frozen=True, kw_only=True)
class DataPart(Part):
    """A data set: a function of `split` (`train` or `test`) and its own options that returns a `Dataset`."""

    group: str = "data"
    product: ClassVar[type | None] = Dataset

    @property
    def supplied(self) -> frozenset[str]:
        return frozenset({"split"})


DATASETS = Register(DataPart, "genuq.data", "data.name")


def load(name: str, split: str = "train", **options: Any) -> Dataset:
    """The set `name`; the options are those of the function of that name.

    Raises:
        ConfigurationError: no such set or option (the near match is named), or an option is missing.
        DataError: the set cannot be read.
    """
    return DATASETS.make(name, split=split, **options)
