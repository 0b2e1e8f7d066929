"""Further processes of a job: none for one process, and what becomes of them when one ends."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from genuq.errors import ConfigurationError, ProcessError
from genuq.parallel import collectives, workers
from genuq.parallel.hardware import Hardware
from genuq.pipeline.execute import execute
from support.small_runs import POINTS, composed

TWO = ["trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu"]


def test_one_process_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "connector", lambda hardware: pytest.fail("connected"))
    checked: list[bool] = []
    with workers.connected_processes(Hardware(), "task", lambda: checked.append(True)):
        assert checked
        assert collectives.agree(3) == 3 and collectives.totals({"a": 1.5}) == {"a": 1.5}


def test_processes_that_nobody_asked_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by `srun -n 4 genuq` without trainer=ddp: the first works alone, and the others would without its locks."""
    monkeypatch.setattr(collectives, "number_of_this_process", lambda: 2)
    with (
        pytest.raises(ConfigurationError, match=r"process 2 of several.*trainer=ddp trainer\.devices=N"),
        workers.connected_processes(Hardware(), "task", lambda: None),
    ):
        pass


def test_what_another_process_reports_is_told_by_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The further process fails at once: its task names a stage that does not exist."""
    start = workers.start
    monkeypatch.setattr(workers, "start", lambda rank, task: start(rank, task.replace("gaussian", "gausian")))
    broken = composed(*POINTS, *TWO, f"store={tmp_path}/store")
    monkeypatch.setattr(workers, "failed", lambda other: other.wait() != 0)
    with pytest.raises(ProcessError, match=r"process 1 of 2 ended with status 1, see its error above"):
        execute(broken, tmp_path, "genuq")
    assert "error in process 1: " in capfd.readouterr().err


def test_a_process_that_waits_for_the_dead_is_ended(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ends: list[int] = []
    monkeypatch.setattr(workers.os, "_exit", ends.append)
    monkeypatch.setattr(workers, "GRACE", 0.0)
    left = workers.threading.Event()
    workers.watch(SimpleNamespace(wait=lambda: -9, returncode=-9), "process 1 of 2", left)
    assert ends == [1] and "process 1 of 2 was killed by signal 9" in capfd.readouterr().err
    left.set()
    workers.watch(SimpleNamespace(wait=lambda: -9, returncode=-9), "process 1 of 2", left)
    workers.watch(SimpleNamespace(wait=lambda: 0, returncode=0), "process 1 of 2", workers.threading.Event())
    assert ends == [1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_devices_that_are_not_there_are_refused_by_their_key() -> None:
    with pytest.raises(ConfigurationError, match=r"trainer\.accelerator = 'gpu' with trainer\.devices = 2"):
        workers.connector(Hardware(devices=2, accelerator="gpu"))
