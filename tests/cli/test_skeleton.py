"""`genuq parts new`: a package for each group, which is installed and passes its own tests; and what is refused."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from genuq.cli.skeleton import class_name, rendered, write_skeleton
from genuq.errors import ConfigurationError
from genuq.parts import GROUPS
from support.installed import genuq, install, run_tests


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a new package for each group in `packages`, all installed in `site`."""
    root = tmp_path_factory.mktemp("fresh")
    folders = [write_skeleton(group, f"my_{group}", root / "packages") for group in GROUPS]
    install(root / "site", *folders)
    return root


@pytest.mark.slow
def test_each_new_package_passes_its_own_tests_when_it_is_installed(fresh: Path) -> None:
    tests = [str(path) for path in sorted((fresh / "packages").rglob("test_*.py"))]
    assert len(tests) == len(GROUPS)
    done = run_tests(fresh / "site", fresh, *tests)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_new_part_is_listed_beside_genuqs_own(fresh: Path) -> None:
    said = genuq(fresh / "site", fresh, "parts", "score").stdout
    row = next(line for line in said.splitlines() if line.strip().startswith("my_score "))
    assert "genuq-my-score 0.1.0" in row and "broken" not in said
    one = genuq(fresh / "site", fresh, "parts", "posterior", "my_posterior").stdout
    assert "genuq_my_posterior.my_posterior:MyPosterior" in one and "size" in one and "0.02" in one


@pytest.mark.parametrize("group", GROUPS)
def test_what_is_written_is_python_without_a_trace_of_the_template(group: str) -> None:
    for place, text in rendered(group, "warm_noise").items():
        assert "{{" not in text and "jinja" not in text, place
        assert all(len(line) <= 120 for line in text.splitlines()), place
        if place.endswith(".py"):
            ast.parse(text)


def test_names_of_classes() -> None:
    assert [class_name(name) for name in ("spectral", "warm_noise", "p2")] == ["Spectral", "WarmNoise", "P2"]


@pytest.mark.parametrize(
    ("group", "name", "said"),
    [
        ("posterior", "kfac", "'kfac' exists already, as genuq.posteriors.kfac:KFACLaplace.*another name"),
        ("posterior", "Spectral", "'Spectral' cannot be the name of a new posterior: small letters"),
        ("score", "two words", "cannot be the name"),
        ("score", "lambda", "cannot be the name"),
        ("postrior", "spectral", "no parts called 'postrior'. Did you mean 'posterior'"),
    ],
)
def test_names_that_cannot_be_are_refused(group: str, name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=said):
        write_skeleton(group, name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ConfigurationError, match="exists and stays as it is"):
        write_skeleton("score", "mine", tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "notes.txt"]
