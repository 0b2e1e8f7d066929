"""Imports go one way along the list in CONTRIBUTING.md, those inside functions included, and never in a circle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import genuq

PACKAGE = Path(genuq.__file__).parent
ROOT = Path(__file__).parents[1]
FIRST_WITH_CONFIGURATION = "config"  # from here on along the list, Hydra may be known


def modules() -> dict[str, Path]:
    """Every module of genuq by its dotted name."""
    paths = {path: ".".join(("genuq", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in sources()}
    return {name.removesuffix(".__init__"): path for path, name in paths.items()}


def sources() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if "conf" not in path.relative_to(PACKAGE).parts]


def imported(path: Path) -> Iterator[str]:
    """What a module imports, wherever in it, for types too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def of_genuq(known: dict[str, Path]) -> dict[str, set[str]]:
    """The modules of genuq that each one imports."""
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        targets = {target if target in known else target.rpartition(".")[0] for target in imported(path)}
        found[name] = {target for target in targets if target in known and target not in (name, "genuq")}
    return found


def order() -> list[set[str]]:
    """The folders of each floor, lowest first, as CONTRIBUTING.md lists them."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (line,) = re.findall(r"^`errors`.*→.*$", text, re.MULTILINE)
    return [set(re.findall(r"`(\w+)`", floor)) for floor in line.split("→")]


def folder(module: str) -> str:
    return module.split(".")[1]


def test_every_folder_stands_in_the_list_once() -> None:
    listed = [name for floor in order() for name in floor]
    assert len(listed) == len(set(listed))
    assert set(listed) == {folder(module) for module in modules() if module != "genuq"}


def test_no_import_runs_back_up_the_list() -> None:
    floors = {name: number for number, floor in enumerate(order()) for name in floor}
    wrong = [
        f"{module} imports {target}"
        for module, targets in of_genuq(modules()).items()
        for target in targets
        if module != "genuq" and folder(module) != folder(target) and floors[folder(target)] >= floors[folder(module)]
    ]
    assert not wrong


def test_no_modules_import_each_other_in_a_circle() -> None:
    try:
        TopologicalSorter(of_genuq(modules())).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_hydra_is_unknown_below_the_configuration() -> None:
    names = [name for floor in order() for name in sorted(floor)]
    first = next(number for number, floor in enumerate(order()) if FIRST_WITH_CONFIGURATION in floor)
    below = {name for floor in order()[:first] for name in floor}
    assert {"training", "posteriors", "report", "store"} <= below < set(names)
    wrong = [
        f"{module} imports {target}"
        for module, path in modules().items()
        if module == "genuq" or folder(module) in below
        for target in imported(path)
        if target.split(".")[0] in ("hydra", "omegaconf")
    ]
    assert not wrong
