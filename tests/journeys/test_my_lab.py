"""The example package `examples/my_lab`, installed as a user installs it: parts of a lab's own beside genuq's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.installed import genuq, install, python

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_lab"
PARTS = {
    "data": "discs_and_rings",
    "network": "mixer",
    "posterior": "spectral",
    "likelihood": "low_frequencies",
    "score": "leading_variance",
    "application": "abstain",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package is installed in."""
    target = tmp_path_factory.mktemp("installed") / "site"
    install(target, EXAMPLE)
    return target


def test_the_packages_own_tests_pass(site: Path, tmp_path: Path) -> None:
    done = python(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests"), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_parts_are_listed_behind_genuqs_own(site: Path, tmp_path: Path) -> None:
    found = json.loads(genuq(site, tmp_path, "parts", "--json").stdout)
    assert not found["broken"]
    brought = {group: parts[-1]["name"] for group, parts in found["parts"].items() if parts[-1]["from"] != "genuq"}
    assert brought == PARTS
    said = genuq(site, tmp_path, "parts", "posterior", "spectral").stdout
    assert "my-lab-genuq 0.1.0: my_lab.spectral:Spectral" in said and str(site) in said
    assert "eigenvectors that are kept" in said and "32" in said
