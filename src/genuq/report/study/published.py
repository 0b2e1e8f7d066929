"""Numbers of the literature that a table may print beside ours, each with its source and how it is known."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

import yaml

from genuq.errors import ConfigurationError, did_you_mean
from genuq.report.drawing.values import present

STATUSES = {
    "paper": "read in a paper that quotes it",
    "reproduction": "an independent reproduction's own figure",
    "secondary": "quoted second-hand",
}
Value = str | float | int


@dataclass(frozen=True)
class Published:
    """One published result.

    Attributes:
        name: its key in published.yaml.
        source: who says it.
        status: how it is known to us, a key of `STATUSES`.
        unit: of the numbers.
        rows: what each number is of, in text, and the numbers; as they were published.
        protocol: how it was measured, where that is known.
    """

    name: str
    source: str
    status: str
    unit: str
    rows: tuple[dict[str, Value], ...]
    protocol: str = ""

    @property
    def columns(self) -> list[str]:
        """Names of all columns, text before numbers."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return sorted(names, key=lambda name: name in self.measures)

    @property
    def measures(self) -> list[str]:
        """Names of the columns that hold numbers."""
        return list(dict.fromkeys(name for row in self.rows for name, value in row.items() if present(value)))

    @property
    def how_known(self) -> str:
        return STATUSES[self.status]


@functools.cache
def published_numbers() -> dict[str, Published]:
    """All of them by name."""
    text = resources.files("genuq.report").joinpath("published.yaml").read_text(encoding="utf-8")
    entries = yaml.safe_load(text)
    return {name: Published(name, **entry | {"rows": tuple(entry["rows"])}) for name, entry in entries.items()}


def published(names: Iterable[str]) -> list[Published]:
    """Those called for.

    Raises:
        ConfigurationError: one is not in published.yaml: nothing else may be quoted as published.
    """
    known = published_numbers()
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"published: '{name}' is not in published.yaml, and only what is there may be quoted as published."
                f"{did_you_mean(str(name), known)}"
            )
    return [known[name] for name in names]
