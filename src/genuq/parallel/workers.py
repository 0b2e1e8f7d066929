"""The further processes of one job: started for it, connected before its first stage, gone with it.

Each is handed the job's resolved configuration and never sees Hydra, so that it can neither sweep again nor make a
folder of its own. Where Slurm or torchrun has started the processes, they are only connected.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from genuq.errors import ConfigurationError, GenuqError, ProcessError
from genuq.parallel import collectives
from genuq.parallel.hardware import Hardware

PATIENCE = datetime.timedelta(days=7)  # of processes for each other: the first one does some stages alone
GRACE = 60.0  # seconds that the first process has to notice that another one died
STARTED = "GENUQ_STARTED"  # set in the processes that are started here
RANK = "LOCAL_RANK"  # set in every process of several: Lightning's word for its number on this machine


@contextlib.contextmanager
def connected_processes(hardware: Hardware, task: str, check: Callable[[], object]) -> Iterator[None]:
    """Within it, all processes that the trainer asks for are connected; nothing happens where it asks for one.

    Args:
        hardware: the processes asked for.
        task: one line of text, from which a further process knows what to work along on.
        check: called before any process is started.

    Raises:
        ConfigurationError: devices that this machine has not, or processes that somebody started and nobody asked for.
        ProcessError: another process died.
    """
    if not hardware.several:
        require_alone()
        check()
        yield
        return
    fabric = connector(hardware)
    environment: Any = fabric.strategy.cluster_environment
    if environment.creates_processes_externally:
        with ending_on_errors():
            join(fabric)
            if not is_worker():
                check()
            yield
            fabric.barrier()  # what the first one makes last is there for all
        return
    check()
    variables = {
        RANK: "0",
        "NODE_RANK": str(environment.node_rank()),
        "MASTER_ADDR": environment.main_address,
        "MASTER_PORT": str(environment.main_port),
        **threads(fabric),
    }
    with changed_environment(variables), started(task, fabric.strategy.num_processes), connected(hardware):
        yield


def require_alone() -> None:
    """Raise ConfigurationError in a further process of torchrun's or Slurm's, where the trainer asks for one."""
    if (rank := collectives.number_of_this_process()) and not collectives.group():
        raise ConfigurationError(
            f"this is process {rank} of several that torchrun or srun has started, but trainer.devices and "
            "trainer.num_nodes ask for one. Give their number (trainer=ddp trainer.devices=N), or start jobs that know "
            "nothing of each other, as sbatch --array does: they make the run together as well."
        )


def join(fabric: Any) -> None:
    """Connect with processes that somebody else has started; for as long as this one lives, whatever it sweeps."""
    import torch.distributed as processes

    known = processes.is_initialized()
    fabric.launch()
    if not known:
        atexit.register(processes.destroy_process_group)
    fabric.barrier()  # nobody leaves a job, and lets others see it finished, before all have entered


@contextlib.contextmanager
def ending_on_errors() -> Iterator[None]:
    """Any error ends this process, and with it the others, which would wait for it; no sweep goes on without it."""
    try:
        yield
    except GenuqError as error:
        sys.exit(f"error in process {number()}: {error}")
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def number() -> int:
    import torch.distributed as processes

    return processes.get_rank() if processes.is_initialized() else int(os.environ.get(RANK, "0"))


def is_worker() -> bool:
    """Whether this process was started by another one of ours, to work along."""
    return STARTED in os.environ


def connector(hardware: Hardware) -> Any:
    """Lightning's view of the processes; its `launch` connects them."""
    from lightning.fabric import Fabric  # slow to import
    from lightning.fabric.strategies import DDPStrategy

    try:
        return Fabric(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.num_nodes,
            strategy=DDPStrategy(timeout=PATIENCE),
        )
    except Exception as error:  # of a class of Lightning's own that is no part of its interface
        raise ConfigurationError(
            f"trainer.accelerator = '{hardware.accelerator}' with trainer.devices = {hardware.devices}: {error}"
        ) from error


def threads(fabric: Any) -> dict[str, str]:
    """The cores shared among the processes of this machine, unless the user has said how."""
    if "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // fabric.strategy.num_processes))}


@contextlib.contextmanager
def changed_environment(variables: dict[str, str]) -> Iterator[None]:
    """Variables of the environment within, as Lightning reads them; afterwards all are as they were."""
    import torch

    before, count = dict(os.environ), torch.get_num_threads()
    os.environ.update(variables)
    torch.set_num_threads(int(variables.get("OMP_NUM_THREADS", count)))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        torch.set_num_threads(count)


@contextlib.contextmanager
def connected(hardware: Hardware) -> Iterator[None]:
    import torch.distributed

    fabric = connector(hardware)
    fabric.launch()
    fabric.barrier()
    try:
        yield
        fabric.barrier()
    finally:
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def started(task: str, count: int) -> Iterator[None]:
    """The further processes of this machine, `count` with this one; none outlives the block."""
    others = [start(rank, task) for rank in range(1, count)]
    left = threading.Event()
    for rank, other in enumerate(others, 1):
        threading.Thread(target=watch, args=(other, f"process {rank} of {count}", left), daemon=True).start()
    try:
        yield
        left.set()
        for other in others:
            other.wait()
    except Exception as error:
        left.set()
        dead = [] if isinstance(error, GenuqError) else [rank for rank, other in enumerate(others, 1) if failed(other)]
        if dead and others[dead[0] - 1].returncode == -signal.SIGTERM:  # all of this job were asked to stop
            sys.exit(128 + signal.SIGTERM)
        if dead:
            raise ProcessError(message(f"process {dead[0]} of {count}", others[dead[0] - 1])) from error
        raise
    finally:
        left.set()
        for other in others:
            other.kill()
            other.wait()


def start(rank: int, task: str) -> subprocess.Popen[str]:
    """A process that works along; it ends when its standard input does, and so with this one."""
    other = subprocess.Popen(
        [sys.executable, "-P", "-m", "genuq.cli.worker"],
        env=os.environ | {RANK: str(rank), STARTED: "1"},
        stdin=subprocess.PIPE,
        text=True,
    )
    assert other.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died at once: seen when it is waited for
        other.stdin.write(task + "\n")
        other.stdin.flush()
    return other


def failed(other: subprocess.Popen[str], seconds: float = 5.0) -> bool:
    """Whether a process ended in failure, or is about to: its connections end before it does."""
    try:
        return other.wait(seconds) != 0
    except subprocess.TimeoutExpired:
        return False


def message(name: str, other: subprocess.Popen[str]) -> str:
    status = other.returncode
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}, see its error above"
    return f"{name} {how}. Run the same command again: it goes on where it stopped."


def watch(other: subprocess.Popen[str], name: str, left: threading.Event) -> None:
    """End this process where it does not notice by itself that another one died: NCCL waits for the dead."""
    if other.wait() != 0 and not left.wait(GRACE):
        print(f"error: {message(name, other)}", file=sys.stderr, flush=True)
        collectives.end_this_process(soon=False)
