"""Several processes for one job: the results of one process, whatever dies, and nothing of them afterwards."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from genuq import files
from genuq.errors import ProcessError
from genuq.parallel import workers
from genuq.pipeline.run import Run
from genuq.pipeline.stages import sample as sampling
from genuq.pipeline.stages.embed import read_embeddings
from genuq.pipeline.stages.propagate import propagated
from genuq.pipeline.stages.sample import read_samples
from support.programs import command, command_line, environment
from support.small_runs import POINTS, copied, launch, run_of

TWO = ["trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu"]
SMALL_BATCHES = ["posterior.batch_size=20", "propagator=trajectory"]  # five in the curvature's pass
STAGES = "stages=[train,fit,sample,propagate,embed,score,evaluate]"

SWEEP = [*POINTS, *SMALL_BATCHES, STAGES, "seed=0,1"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two jobs in one process each."""
    root = tmp_path_factory.mktemp("alone")
    for seed in (0, 1):
        launch(root / f"seed={seed}", *POINTS, *SMALL_BATCHES, STAGES, f"seed={seed}")
    return root


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The same two jobs as a sweep of the command, in two processes each."""
    root = tmp_path_factory.mktemp("swept")
    return root, command(root, "-m", *SWEEP, *TWO)


def opened(folder: Path, *more: str) -> Run:
    return run_of(folder, *POINTS, *SMALL_BATCHES, STAGES, *more)


def same_results(one: Run, two: Run) -> None:
    left, right = (files.read_tensors(run.path("fit") / "posterior.safetensors")[0] for run in (one, two))
    for name, value in left.items():
        assert float((right[name].double() - value.double()).abs().max()) <= 1e-9 * float(value.double().abs().max())
    for stage, read in (("sample", read_samples), ("propagate", propagated), ("embed", read_embeddings)):
        left, right = read(one.path(stage)), read(two.path(stage))
        assert left.keys() == right.keys() and ("index" not in left or torch.equal(left["index"], right["index"]))
        for name, value in left.items():
            torch.testing.assert_close(right[name], value, rtol=1e-5, atol=1e-5)


def test_two_processes_leave_what_one_leaves(alone: Path, swept: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    root, finished = swept
    assert finished.returncode == 0, finished.stderr
    same_sweeps(alone, root)


def test_a_sweep_with_several_processes_runs_every_job_once_and_makes_no_folder_beside_theirs(
    swept: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    root, finished = swept
    for stage in ("train", "fit", "sample", "propagate", "embed", "score", "evaluate"):
        assert finished.stdout.count(f"\n{stage}: ") == 2
    sweeps = root / "outputs" / "sweeps"
    assert {path.name for path in root.iterdir()} == {"outputs"}
    assert {path.name for path in (root / "outputs").iterdir()} == {"sweeps", "store"}
    assert {path.name for path in sweeps.iterdir()} == {"mixture"}
    assert {path.name for path in (sweeps / "mixture").iterdir()} == {"seed=0", "seed=1", "multirun.yaml"}


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_job_and_the_same_command_goes_on(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(alone / "seed=0", tmp_path / "run")
    without_samples(folder)
    others: list[subprocess.Popen[str]] = []
    start, sample_shard = workers.start, sampling.sample_shard

    def remembered(rank: int, task: str) -> subprocess.Popen[str]:
        others.append(start(rank, task))
        return others[-1]

    def killing(*arguments: object) -> object:
        others[0].kill()
        return sample_shard(*arguments)  # type: ignore[arg-type]

    before = dict(os.environ)
    with monkeypatch.context() as patched:
        patched.setattr(workers, "start", remembered)
        patched.setattr(sampling, "sample_shard", killing)
        with pytest.raises(ProcessError, match=r"process 1 of 2 was killed by signal 9\. Run the same command again"):
            launch(folder, *POINTS, *SMALL_BATCHES, STAGES, *TWO, "seed=0")
    made = {path: path.stat().st_mtime_ns for path in (folder / "store" / "sample").rglob("shard-*.safetensors")}
    assert made and os.environ == before and not torch.distributed.is_initialized()
    launch(folder, *POINTS, *SMALL_BATCHES, STAGES, *TWO, "seed=0")  # connects again in this process
    assert all(path.stat().st_mtime_ns == changed for path, changed in made.items())
    same_results(opened(alone / "seed=0", "seed=0"), opened(folder, "seed=0"))


def without_samples(folder: Path) -> None:
    """As a run that was killed after its fit."""
    for stage in ("sample", "propagate"):
        for path in (folder / "store" / stage).rglob("*.*"):
            path.unlink()


KILLED = """
import os, signal, sys
from pathlib import Path
import test_many_processes as t

def start(rank, task, start=t.workers.start):
    other = start(rank, task)
    print(other.pid, flush=True)
    return other

t.workers.start = start
t.sampling.sample_shard = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
t.launch(Path(sys.argv[1]), *t.POINTS, *t.SMALL_BATCHES, t.STAGES, *t.TWO, "seed=0")
"""


@pytest.mark.slow
def test_the_others_end_with_the_first_process(alone: Path, tmp_path: Path) -> None:
    folder = copied(alone / "seed=0", tmp_path / "run")
    without_samples(folder)
    arguments = [sys.executable, "-c", KILLED, str(folder)]
    killed = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, timeout=1800, env=environment(__file__))
    assert killed.returncode == -signal.SIGKILL
    (other,) = [int(line) for line in killed.stdout.splitlines() if line.isdigit()]
    deadline = time.monotonic() + 120
    while is_alive(other) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(other)


def is_alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_processes_that_torchrun_has_started_sweep_together(alone: Path, tmp_path: Path) -> None:
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--no-python"]
    finished = subprocess.run(
        [*run, *command_line("-m", *SWEEP, *TWO)], cwd=tmp_path, capture_output=True, text=True, env=environment()
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("\nsample: ") == 2
    same_sweeps(alone, tmp_path)


@pytest.mark.slow
def test_machines_that_share_a_store_sweep_together(alone: Path, tmp_path: Path) -> None:
    """Two commands with the addresses of two machines, both of which are this one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    arguments = command_line("-m", *SWEEP, "trainer.num_nodes=2", "trainer.accelerator=cpu")
    machines = [
        subprocess.Popen(arguments, cwd=tmp_path, env=environment() | where | {"NODE_RANK": str(rank)})
        for rank in range(2)
    ]
    assert [machine.wait(timeout=1800) for machine in machines] == [0, 0]
    same_sweeps(alone, tmp_path)


def same_sweeps(alone: Path, root: Path) -> None:
    for seed in ("seed=0", "seed=1"):
        job = root / "outputs" / "sweeps" / "mixture" / seed
        same_results(opened(alone / seed, seed), opened(job, seed, f"store={root}/outputs/store"))
