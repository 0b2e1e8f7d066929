"""The help: everything that one can type, and nothing wider than a terminal."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from genuq.cli import help, main
from support.programs import COMMAND, program

ROOT = Path(__file__).parents[2]


def test_help_says_everything_that_one_can_type() -> None:
    said = help.text([ROOT / "conf"])
    options = [file for file in (ROOT / "conf").glob("*/*.yaml")]
    assert len(options) > 60 and all(f"\n  {file.stem:<{help.COLUMN}} " in said for file in options)
    assert all(f"\n{file.parent.name}=\n" in said for file in options) and "schema_" not in said
    for file in (ROOT / "conf" / "hydra").glob("*/*.yaml"):
        assert f"\nhydra/{file.parent.name}=\n" in said and f"\n  {file.stem:<{help.COLUMN}} " in said
    assert all(f"genuq {name} " in said for name in main.COMMANDS)
    scripts = re.findall(r"^(genuq[\w-]*) = ", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert len(scripts) == 4 and all(re.search(rf"\b{name}\b", said) for name in scripts)
    assert max(map(len, said.splitlines())) <= 120


def test_help_is_printed_by_the_command(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("genuq")), "--help"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1800)
    assert finished.returncode == 0 and finished.stdout.startswith("genuq: which outputs")
    finished = program(COMMAND, "store", "--help", folder=tmp_path)
    assert finished.returncode == 0 and all(word in finished.stdout for word in ("list", "show", "verify", "prune"))
