"""Killed at any moment, in any stage, and started again: the same artefacts, byte for byte."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
import traceback
from pathlib import Path

import pytest

from genuq import files
from genuq.store.store import Store
from support.programs import environment, program
from support.small_runs import POINTS, content, launch

pytestmark = pytest.mark.slow  # the tests of each stage kill it where it is most at risk

STAGES = "stages=[train,fit,sample,propagate,embed,score,evaluate,apply,report]"
RUN = [
    *(text for text in POINTS if not text.startswith("stages=")),
    STAGES,
    "propagator=trajectory",
    "application=augment",
    "application.samples=40",
    "application.cut=0.67",
    "trainer.steps=60",
    "trainer.checkpoint_every=5",
    "sampler.batch_size=4",
    "+posterior@beside.ensemble=posthoc_ensemble",
    *("beside.ensemble.members=2", "beside.ensemble.steps=20", "beside.ensemble.draws=2"),
]
KILLS = (6, 20)


def whole_run(folder: Path, reports: bool = True) -> None:
    launch(folder, *RUN, *([] if reports else [STAGES.replace(",report", "")]))


def kill_and_resume(root: Path, kills: int) -> None:
    """Kill runs in processes of their own at random moments, so many times; each run is killed twice and then comes to
    its end. The report, which takes most of so small a run's time, is killed twice more.
    """
    whole_run(root / "whole")  # what is loaded now is loaded in every child
    started = time.monotonic()
    in_child(root / "timed", reports=False)
    length, moments = time.monotonic() - started, random.Random(0)
    finished: list[int] = []
    while len(finished) < kills - 2:
        folder = root / f"killed-{len(finished) // 2}"
        if in_child(folder, moments.uniform(0.02, 0.98) * length, reports=False):
            finished.append(sum(1 for _ in (folder / "store").glob("*/*/manifest.json")))
        else:
            shutil.rmtree(folder)  # it had come to its end: another moment
            del finished[len(finished) // 2 * 2 :]
    for folder in sorted(root.glob("killed-*")):
        in_child(folder, reports=False)
    for folder in sorted(root.glob("killed-*"))[:2]:
        in_child(folder, 0.5)
        in_child(folder)
    files.write_json(root / "kills.json", finished)


def in_child(folder: Path, seconds: float | None = None, reports: bool = True) -> bool:
    """Run in a child; kill it after some seconds if it is not done by then, and say so."""
    if not (child := os.fork()):
        with open(folder.with_name(f"log-of-{folder.name}"), "w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            try:
                whole_run(folder, reports)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        os._exit(0)
    deadline = time.monotonic() + (600 if seconds is None else seconds)
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, folder.with_name(f"log-of-{folder.name}").read_text()[-3000:]
            return False
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


@pytest.fixture(scope="module", params=KILLS)
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("killed")
    code = "import sys; from pathlib import Path; import test_killed_anywhere as t\n"
    code += "t.kill_and_resume(Path(sys.argv[1]), int(sys.argv[2]))"
    # One thread: a child has none of its parent's further threads.
    done = program(code, str(root), str(request.param), variables=environment(__file__))
    assert done.returncode == 0, done.stderr
    return root


def test_the_same_bytes_whatever_was_killed(killed: Path) -> None:
    finished = files.read_json(killed / "kills.json")
    assert len(finished) + 2 in KILLS and len(set(finished)) > len(finished) // 4, "not all in the same stage"
    whole = content(killed / "whole")
    assert {name.split("/")[0] for name in whole} == {
        *("train", "posterior", "fit", "sample", "propagate", "embed", "score", "evaluate", "apply", "report")
    }
    for folder in sorted(killed.glob("killed-*")):
        found = content(folder)
        assert found.keys() >= {name for name in whole if not name.startswith("report/")}
        assert [name for name in found if found[name] != whole[name]] == []


def test_the_report_differs_in_times_alone(killed: Path) -> None:
    def told(folder: Path) -> dict:
        results = files.read_json(folder / "report" / "results.json")
        results["config"].pop("store")
        for entry in (results["posterior"], *results["posteriors"]):
            entry["cost"] = {name: value for name, value in entry["cost"].items() if "seconds" not in name}
        return results

    for folder in (killed / "killed-0", killed / "killed-1"):
        assert told(folder) | {"command": ""} == told(killed / "whole") | {"command": ""}


def test_nothing_is_broken_and_nothing_is_left_over(killed: Path) -> None:
    for folder in killed.glob("killed-*"):
        assert Store(folder / "store").broken() == [] and Store(folder / "store").unused() == []
        assert not list((folder / "store").rglob("*.partial")) and not list((folder / "store").rglob("*.ckpt"))
