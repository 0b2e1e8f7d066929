"""Packages installed as a user installs them, into a folder that only the programs started with it see."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from support.programs import COMMAND, environment, program


def install(target: Path, *sources: Path) -> None:
    """`pip install` the packages in these folders into `target`; needs no network, as hatchling is here."""
    copies = [shutil.copytree(source, target.parent / "sources" / source.name) for source in sources]
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    done = subprocess.run(
        [*pip, "--disable-pip-version-check", "--target", str(target), *map(str, copies)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr


def seeing(target: Path) -> dict[str, str]:
    """The environment of a program that sees what is installed in `target`, beside all that this one sees."""
    known = environment()
    return known | {"PYTHONPATH": os.pathsep.join([str(target), known["PYTHONPATH"]])}


def run_tests(target: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest with these arguments, seeing what is installed in `target`."""
    code = "import sys, pytest; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', *sys.argv[1:]]))"
    return program(code, *arguments, folder=folder, variables=seeing(target))


def genuq(target: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command `genuq`, begun in `folder`."""
    return program(COMMAND, *arguments, folder=folder, variables=seeing(target))
