"""The least version of each dependency that pyproject.toml admits."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def lowest(requirements: Iterable[str]) -> list[str]:
    """Requirements that name the least version: `torch>=2.6,<3` as `torch==2.6`.

    Raises:
        ValueError: one that names none.
    """
    return [_lowest(text) for text in requirements]


def _lowest(requirement: str) -> str:
    found = re.match(r"([\w.-]+)(?:>=|==)([\d.]+)", requirement)
    if found is None:
        raise ValueError(f"{requirement} has no least version. Give one: NAME>=VERSION.")
    return f"{found[1]}=={found[2]}"
