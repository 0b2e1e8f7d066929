"""The tests mirror the package: every module that does something has a test file, in its place.

`genuq/a/b.py` is tested in `tests/a/test_b.py`, and what a package says for all of its modules (its `__init__`: the
registry, the public names) in the test file called after the package, `tests/a/test_a.py`. Journeys over many modules
are in `tests/journeys`, and what several test files share is in `tests/support`."""

from __future__ import annotations

import ast
from pathlib import Path

import genuq

PACKAGE = Path(genuq.__file__).parent
TESTS = Path(__file__).parent
OF_THE_REPOSITORY = {
    "test_dependencies.py",
    "test_documents.py",
    "test_import_order.py",
    "test_mirror.py",
    "test_named_keys.py",
}


def sources() -> list[Path]:
    paths = (path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    return sorted(path for path in paths if path.parts[0] != "conf")


def place_of(source: Path) -> Path:
    """Where the tests of a module or package stand, both relative to their roots."""
    if source.name != "__init__.py":
        return source.with_name(f"test_{source.name}")
    return source.with_name(f"test_{source.parent.name or 'genuq'}.py")


def only_declares(method: ast.FunctionDef) -> bool:
    """Whether it answers the same whatever it is asked: nothing, or a value that none of its arguments enters."""
    body = [line for line in method.body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))]
    given = {argument.arg for argument in ast.walk(method.args) if isinstance(argument, ast.arg)}
    names = {node.id for line in body for node in ast.walk(line) if isinstance(node, ast.Name)}
    return all(isinstance(line, ast.Return | ast.Pass) for line in body) and not names & given


def has_behaviour(source: Path) -> bool:
    """Whether a module has something to test: functions, or classes with methods that do something.

    Names and constants, records, protocols and the classes of a register's entries only declare.
    """
    tree = ast.parse((PACKAGE / source).read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    methods = [node for one in classes for node in one.body if isinstance(node, ast.FunctionDef)]
    return any(isinstance(node, ast.FunctionDef) for node in tree.body) or not all(map(only_declares, methods))


def test_every_test_file_stands_where_its_module_stands() -> None:
    allowed = {place_of(source) for source in sources()} | {Path(name) for name in OF_THE_REPOSITORY}
    paths = {path.relative_to(TESTS) for path in TESTS.rglob("*.py")}
    others = {path for path in paths if path.parts[0] not in ("journeys", "support") and path.name != "conftest.py"}
    assert sorted(map(str, others - allowed)) == []


def test_every_module_with_behaviour_has_its_test_file() -> None:
    missing = [source for source in sources() if has_behaviour(source) and not (TESTS / place_of(source)).is_file()]
    assert list(map(str, missing)) == []
