"""The tests mirror the package: of each module, or of the lack of its tests, one knows the place.

`genuq/a/b.py` is tested in `tests/a/test_b.py`, and what a package says for all of its modules (its `__init__`: the
registry, the public names) in the test file called after the package, `tests/a/test_a.py`. Journeys over many modules
are in `tests/journeys`, and what several test files share is in `tests/support`."""

from __future__ import annotations

import ast
from pathlib import Path

import genuq

PACKAGE = Path(genuq.__file__).parent
TESTS = Path(__file__).parent
OF_THE_REPOSITORY = {"test_import_order.py", "test_mirror.py"}
UNTESTED = """
analysis/bins.py
analysis/numbers.py
analysis/summary.py
cli/bench.py
cli/console.py
cli/dashboard.py
cli/help.py
cli/plan.py
cli/store.py
cli/study.py
cli/worker.py
config/finished.py
config/job.py
config/plugins.py
config/schemas.py
data/cifar.py
extractors/__init__.py
extractors/encoders.py
extractors/judge.py
extractors/lite0.py
extractors/registry.py
likelihoods/points.py
machine.py
metrics/__init__.py
parallel/workers.py
pipeline/configured.py
pipeline/contents.py
pipeline/inputs.py
pipeline/masks.py
pipeline/objective.py
pipeline/recording.py
pipeline/run.py
pipeline/sharded.py
pipeline/stages/applications.py
pipeline/stages/embed.py
pipeline/stages/fit.py
pipeline/stages/report.py
pipeline/stages/sample.py
pipeline/stages/score.py
pipeline/stages/train.py
pipeline/tracker.py
planning/calibration.py
planning/counting.py
planning/footprint.py
planning/history.py
planning/planned.py
posteriors/curvature/layers.py
propagators/network.py
report/drawing/canvas.py
report/drawing/document.py
report/drawing/style.py
report/drawing/vocabulary.py
report/run/panels.py
report/study/latex.py
report/study/score_table.py
report/study/verdict.py
report/study/words.py
studies/collect.py
studies/dashboard_content.py
studies/grid.py
studies/tables.py
tracking/numbers.py
tracking/wandb_content.py
tracking/wandb_names.py
"""


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
    """But for those named here; whoever tests one of them takes it off."""
    missing = {str(source) for source in sources() if has_behaviour(source)} - {
        str(source) for source in sources() if (TESTS / place_of(source)).is_file()
    }
    assert sorted(missing) == UNTESTED.split()
