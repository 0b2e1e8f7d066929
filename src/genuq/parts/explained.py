"""What the docstring of a part says of each of its options."""

from __future__ import annotations

import inspect
import re
from typing import Any

SECTIONS = ("Args", "Attributes")
_HEADING = re.compile(r"(\w[\w ]*):\s*$")
_ENTRY = re.compile(r"(\w+(?:, \w+)*): +(\S.*)$")


def explained(target: Any) -> dict[str, str]:
    """The words for each parameter that has any, from the sections Args and Attributes of the docstring.

    A class also inherits those of its bases, whose options it takes; words nearer to it count.
    """
    found: dict[str, str] = {}
    for each in inspect.getmro(target) if inspect.isclass(target) else (target,):
        makers = (each, vars(each).get("__init__")) if inspect.isclass(each) else (each,)
        for maker in makers:
            for name, words in entries(getattr(maker, "__doc__", None) or "").items():
                found.setdefault(name, words)
    return found


def entries(docstring: str) -> dict[str, str]:
    """`name: words` of the sections Args and Attributes; `one, two: words` are words for both."""
    found: dict[str, str] = {}
    section, indent, names = False, 0, list[str]()
    for line in inspect.cleandoc(docstring).splitlines():
        depth = len(line) - len(line.lstrip())
        if line.strip() and depth == 0:
            heading = _HEADING.match(line)
            section, indent, names = heading is not None and heading[1] in SECTIONS, 0, []
        elif section and line.strip():
            indent = indent or depth
            entry = _ENTRY.match(line.strip()) if depth == indent else None
            names = entry[1].split(", ") if entry else names
            for name in names:
                found[name] = entry[2] if entry else f"{found[name]} {line.strip()}"
    return found
