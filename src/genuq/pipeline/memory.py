"""What was opened before: stages, and the runs of a plan, share data sets, models and encoders."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from genuq.errors import GenuqError


@dataclass
class Memory:
    """What was built before, or why it could not be built, by what it depends on.

    Args:
        keeps_errors: whether what failed once is taken to fail again; else it is tried anew.
        outlines: whether models are opened without their weights where they can be, for a plan.
    """

    keeps_errors: bool = False
    outlines: bool = False
    kept: dict[str, Any] = field(default_factory=dict)

    def __call__(self, key: Any, build: Callable[[], Any]) -> Any:
        """What `build` gives, or raises, built once for each key (plain data)."""
        name = json.dumps(key, sort_keys=True, default=str)
        if name not in self.kept:
            try:
                self.kept[name] = build()
            except (GenuqError, OSError) as error:
                if not self.keeps_errors:
                    raise
                self.kept[name] = error
        if isinstance(self.kept[name], Exception):
            raise self.kept[name]
        return self.kept[name]
