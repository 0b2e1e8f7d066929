"""The package of a new part, with a test: written from the templates beside this file, one pair for each group."""

from __future__ import annotations

import importlib.resources
import keyword
import re
import tempfile
from pathlib import Path

import jinja2

from genuq.errors import ConfigurationError
from genuq.parts import register_of

FUNCTIONS = ("score", "data", "application", "model")  # groups whose part is a function, called as it is


def write_skeleton(group: str, name: str, parent: Path) -> Path:
    """Write the package of a small part that works, ready for `pip install -e`; the folder parent/name.

    Args:
        group: of `genuq.parts.GROUPS`.
        name: of the part, in small letters.
        parent: made where it is missing.

    Raises:
        ConfigurationError: no such group; the name is none, is taken, or a file or folder of this name exists.
    """
    require_free(group, name)
    folder = parent / name
    if folder.exists():
        raise ConfigurationError(f"{folder} exists and stays as it is. Choose another name, or another --out.")
    files = rendered(group, name)
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=parent) as partial:
        whole = Path(partial) / name
        for place, text in files.items():
            path = whole / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        whole.rename(folder)
    return folder


def require_free(group: str, name: str) -> None:
    """Raise ConfigurationError unless a new part of the group may have this name."""
    if name in (register := register_of(group)):
        raise ConfigurationError(
            f"{group} '{name}' exists already, as {register.get(name).path}. Choose another name; "
            f"`genuq parts {group}` lists those that are taken."
        )
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigurationError(
            f"'{name}' cannot be the name of a new {group}: small letters, digits and underscores, a letter first, and "
            "no word of Python's own. For instance spectral."
        )


def rendered(group: str, name: str) -> dict[str, str]:
    """The files of the package by their places in it."""
    package = f"genuq_{name}"
    words = {
        "group": group,
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "package": package,
        "distribution": package.replace("_", "-"),
        "target": name if group in FUNCTIONS else class_name(name),
    }
    templates = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"src/{package}/__init__.py": "__init__.py",
        f"src/{package}/{name}.py": f"{group}.py",
        f"tests/test_{name}.py": f"test_{group}.py",
    }
    source = importlib.resources.files("genuq.cli") / "skeletons"
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return {
        place: environment.from_string((source / f"{template}.jinja").read_text()).render(words)
        for place, template in templates.items()
    }


def class_name(name: str) -> str:
    """`warm_noise` as `WarmNoise`."""
    return "".join(word.capitalize() for word in name.split("_"))
