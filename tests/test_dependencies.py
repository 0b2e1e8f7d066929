"""The packages that pyproject.toml asks for are those that genuq imports."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = ("dashboard", "optuna", "peers", "pretrained", "remote", "torchmetrics")  # whose packages genuq imports itself


def names(requirements: Iterable[str]) -> set[str]:
    return {re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", text)[0]).lower() for text in requirements}  # type: ignore[index]


def imported() -> set[str]:
    """Distributions that anything in src/ imports."""
    modules: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                modules.add(node.module.split(".")[0])
    distributions = packages_distributions()
    others = modules - set(sys.stdlib_module_names) - {"genuq"}
    return names(name for module in others for name in distributions.get(module, [module]))


def test_every_dependency_is_imported() -> None:
    assert names(PROJECT["dependencies"]) <= imported()


def test_every_import_is_a_dependency_or_comes_with_an_extra() -> None:
    extras = {name for extra in EXTRAS for name in names(PROJECT["optional-dependencies"][extra])}
    missing = {name.replace("_", "-") for name in imported()} - names(PROJECT["dependencies"]) - extras
    assert not missing


def test_no_dependency_is_for_tests_alone() -> None:
    """Oracles come with the extra `dev`."""
    assert not names(PROJECT["dependencies"]) & {"clean-fid", "torchmetrics", "scikit-learn", "prdc", "pytest"}
