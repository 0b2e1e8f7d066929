"""One of four processes is killed at random, ten times: the others go down with it, as torchrun has it, and the same
command leaves the same bytes.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import time
import traceback
from pathlib import Path

import pytest

from genuq import files
from genuq.store.store import Store
from support.programs import environment, program
from support.small_runs import POINTS, content, launch

pytestmark = pytest.mark.slow  # tests/pipeline/test_sharded.py kills runs that share a store, in seconds

COUNT, KILLS = 4, 10
RUN = [
    *(text for text in POINTS if not text.startswith("stages=")),
    "stages=[train,fit,sample,propagate,embed,score,evaluate]",
    *("trainer.devices=4", "trainer.strategy=ddp", "trainer.accelerator=cpu"),
    *("propagator=trajectory", "posterior.batch_size=10"),
    *("trainer.steps=40", "trainer.checkpoint_every=5", "sampler.batch_size=2"),
]


def four(folder: Path, kill: tuple[float, int] | None = None) -> bool:
    """Run in four processes that find each other as those of torchrun do; whether all came to their end.

    Args:
        kill: seconds after which one is killed, and which.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [forked(folder, rank, port) for rank in range(COUNT)]
    if kill is not None:
        time.sleep(kill[0])
        os.kill(children[kill[1]], signal.SIGKILL)
    left, failed = set(children), False
    while left:
        done, status = os.wait()
        left.discard(done)
        if status and not failed:
            failed = True
            for other in left:
                os.kill(other, signal.SIGKILL)
    return not failed


def forked(folder: Path, rank: int, port: int) -> int:
    if child := os.fork():
        return child
    with open(folder.with_name(f"log-of-{folder.name}-{rank}"), "w") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
        status = 1
        try:
            as_of_torchrun(rank, port)
            launch(folder, *RUN)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            log.flush()
            os._exit(status)


def as_of_torchrun(rank: int, port: int) -> None:
    from lightning_utilities.core.rank_zero import rank_zero_only

    numbers = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": COUNT, "LOCAL_WORLD_SIZE": COUNT}
    os.environ.update({name: str(value) for name, value in numbers.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="x")
    rank_zero_only.rank = rank


def kill_and_resume(root: Path, seed: int) -> None:
    assert four(root / "loaded") and four(root / "whole")
    started = time.monotonic()
    assert four(root / "timed")
    length, moments = time.monotonic() - started, random.Random(seed)
    killed: list[tuple[float, int]] = []
    folder, number = root / "killed-0", 0
    while len(killed) < KILLS:
        kill = (moments.uniform(0.1, 0.9) * length, moments.randrange(COUNT))
        if four(folder, kill):  # it had come to its end: another one
            number += 1
            folder = root / f"killed-{number}"
        else:
            killed.append(kill)
    assert four(folder)
    files.write_json(root / "kills.json", killed)


def test_the_same_bytes_whichever_was_killed(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed of the kills: {seed}")
    code = "import sys; from pathlib import Path; import test_killed_of_four as t\n"
    code += "t.kill_and_resume(Path(sys.argv[1]), int(sys.argv[2]))"
    done = program(code, str(tmp_path), str(seed), variables=environment(__file__))
    assert done.returncode == 0, done.stderr
    print(files.read_json(tmp_path / "kills.json"))
    whole = content(tmp_path / "whole")
    for folder in sorted(tmp_path.glob("killed-*")):
        assert content(folder) == whole
        assert Store(folder / "store").broken() == [] and Store(folder / "store").unused() == []
