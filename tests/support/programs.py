"""Programs that tests start in processes of their own: the command `genuq`, and functions of the tests themselves.

Importing genuq's libraries takes longer than most programs of tests: a server imports them once, and each program is a
fork of it. What is tested in how Python itself starts (what is imported, and when) needs a `subprocess` instead.
"""

from __future__ import annotations

import atexit
import functools
import multiprocessing
import multiprocessing.context
import os
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
from pathlib import Path

PATIENCE = 1800.0  # seconds
LOADED = [
    *("genuq.cli.plan", "genuq.cli.run", "genuq.cli.study", "genuq.cli.table", "genuq.pipeline.execute"),
    *("genuq.report.run.writing", "torch._dynamo"),
]
COMMAND = "from genuq.cli.main import main; main()"


def environment(test_file: str | None = None) -> dict[str, str]:
    """Of a process that imports what this one can import, and `test_file` (its `__file__`) under its bare name."""
    paths = [str(Path(test_file).parent)] if test_file else []
    return os.environ | {"PYTHONPATH": os.pathsep.join([*paths, *sys.path]), "OMP_NUM_THREADS": "1"}


@functools.cache
def server() -> multiprocessing.context.ForkServerContext:
    """Processes forked from one in which the libraries are imported, with one thread: a fork has no others."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    before = dict(os.environ)
    os.environ.update(environment())
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return context


def start(
    code: str, *arguments: str, folder: Path | None = None, variables: dict[str, str] | None = None
) -> multiprocessing.context.ForkServerProcess:
    """A process that runs `python -c CODE ARGUMENTS` in `folder`; what it prints goes to files, see `said`.

    Args:
        variables: its environment; `environment()` where none is given.
    """
    known = environment() if variables is None else variables
    place = Path(tempfile.mkdtemp())
    process = server().Process(
        target=_run, args=(code, arguments, str(folder or Path.cwd()), known, str(place)), name=str(place)
    )
    process.start()
    return process


def _run(code: str, arguments: tuple[str, ...], folder: str, variables: dict[str, str], place: str) -> None:
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    for number, stream in enumerate(("stdout", "stderr"), start=1):
        os.dup2(os.open(f"{place}/{stream}", os.O_WRONLY | os.O_CREAT), number)
    sys.path[:] = ["", *dict.fromkeys(path for path in variables["PYTHONPATH"].split(os.pathsep) if path)]
    sys.argv = ["-c", *arguments]
    try:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends without them


def said(process: multiprocessing.context.ForkServerProcess, stream: str = "stdout") -> str:
    """What it has printed so far."""
    path = Path(process.name, stream)
    return path.read_text() if path.exists() else ""


def finished(process: multiprocessing.context.ForkServerProcess) -> subprocess.CompletedProcess[str]:
    """Wait for its end."""
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        raise TimeoutError(said(process) + said(process, "stderr"))
    return subprocess.CompletedProcess([], int(process.exitcode or 0), said(process), said(process, "stderr"))


def program(
    code: str, *arguments: str, folder: Path | None = None, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The finished process of `start`, with what it printed."""
    return finished(start(code, *arguments, folder=folder, variables=variables))


def given_once(overrides: tuple[str, ...]) -> list[str]:
    """The last of repeated keys counts; Hydra wants every key once."""
    return [*{text.split("=")[0]: text for text in overrides}.values()]


def command_line(*overrides: str) -> list[str]:
    """The command `genuq`, in a Python that starts from nothing."""
    return [sys.executable, "-c", COMMAND, *given_once(overrides)]


def command(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """The finished command, begun in `folder`, with what it printed."""
    return program(COMMAND, *given_once(overrides), folder=folder)
