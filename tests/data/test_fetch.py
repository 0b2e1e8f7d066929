"""The download clients, with stand-ins on the PATH instead of a network."""

import os
import time
from pathlib import Path

import pytest

from genuq.data import fetch
from genuq.data.fetch import debian_package, npm_package, run, torchvision_download
from genuq.data.routes import AbsentError


@pytest.fixture
def clients(tmp_path, monkeypatch):
    """Puts shell scripts on the PATH, before everything else; they log their arguments to `log`."""
    folder, log = tmp_path / "bin", tmp_path / "log"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def install(name: str, script: str) -> Path:
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {log}\n{script}\n')
        (folder / name).chmod(0o755)
        return log

    return install


@pytest.fixture
def scratch(tmp_path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def test_a_debian_package_is_fetched_with_private_lists_where_the_systems_have_none(clients, scratch):
    log = clients("apt-get", 'case "$*" in *update*) ;; *Dir::State::lists*) touch it.deb ;; *) exit 100 ;; esac')
    clients("dpkg", 'mkdir -p "$3/usr/share" && touch "$3/usr/share/data"')
    folder = debian_package("it", "usr/share").folder(scratch)
    assert [path.name for path in folder.iterdir()] == ["data"]
    verbs = [line.split()[-1] if "dpkg" not in line else "unpack" for line in log.read_text().splitlines()]
    assert verbs == ["it", "update", "it", "unpack"]


def test_an_npm_package_is_unpacked(clients, scratch):
    clients("npm", "mkdir package && echo 1 > package/data && tar -czf it-1.0.tgz package && rm -r package")
    assert (npm_package("it@1.0").folder(scratch) / "data").read_text() == "1\n"


def test_torchvision_runs_in_a_process_of_its_own_and_its_failure_is_quoted(scratch):
    stand_in = "class datasets:\n    def Tiny(folder, download): open(folder + '/tiny', 'w').write(str(download))\n"
    (scratch / "torchvision.py").write_text(stand_in)
    assert (torchvision_download("Tiny(folder, download=True)").folder(scratch) / "tiny").read_text() == "True"
    with pytest.raises(AbsentError, match=r"failed: .*no attribute 'NoSuchSet'"):
        torchvision_download("NoSuchSet(folder)").folder(scratch)


def test_a_missing_client_is_named(scratch):
    with pytest.raises(AbsentError, match="no-such-client is not installed"):
        run(["no-such-client"], scratch)


@pytest.mark.parametrize(
    ("script", "gist"),
    [
        ("echo error code E404; echo noise; echo; echo try later >&2; exit 1", r"error code E404 \| try later"),
        ("echo only line; exit 1", "only line"),
        ("exit 1", "without a message"),
    ],
)
def test_the_gist_of_a_failing_client_is_quoted(scratch, script, gist):
    with pytest.raises(AbsentError, match=f"^sh failed: {gist}$"):
        run(["sh", "-c", script], scratch)


def test_a_client_over_its_time_is_ended_with_everything_it_started(scratch, monkeypatch):
    monkeypatch.setattr(fetch, "TIME_LIMIT", 0.5)
    with pytest.raises(AbsentError, match="sh took longer than"):
        run(["sh", "-c", "sleep 300 & echo $! > child; wait"], scratch)
    child = int((scratch / "child").read_text())
    for _ in range(100):  # the kernel needs a moment
        if not _alive(child):
            return
        time.sleep(0.02)
    pytest.fail("the client's child still runs")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not (status.exists() and status.read_text().split()[2] == "Z")
