"""Programs that tests start in processes of their own: the command `genuq`, and functions of the tests themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def environment(test_file: str | None = None) -> dict[str, str]:
    """Of a process that imports what this one can import, and `test_file` (its `__file__`) under its bare name."""
    paths = [str(Path(test_file).parent)] if test_file else []
    return os.environ | {"PYTHONPATH": os.pathsep.join([*paths, *sys.path]), "OMP_NUM_THREADS": "1"}


def command_line(*overrides: str) -> list[str]:
    """The command `genuq`. The last of repeated keys counts; Hydra wants every key once."""
    last = {text.split("=")[0]: text for text in overrides}
    return [sys.executable, "-c", "from genuq.cli.main import main; main()", *last.values()]


def command(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """The finished command, begun in `folder`, with what it printed."""
    return subprocess.run(
        command_line(*overrides), cwd=folder, capture_output=True, text=True, timeout=1800, env=environment()
    )
