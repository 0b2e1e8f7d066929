"""The process around long numerical work: what is said of the machine, and what stays silent."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import socket
import warnings

import pytest
import torch

from genuq import machine


def test_what_is_said_of_the_machine_sets_times_and_names_nothing() -> None:
    said = machine.machine()
    assert platform.machine() in said and f"{os.cpu_count()} processors" in said
    assert f"{torch.get_num_threads()} threads" in said and socket.gethostname() not in said


def test_lightning_tells_errors_alone() -> None:
    logger = logging.getLogger("lightning.pytorch")
    logger.setLevel(logging.DEBUG)
    machine.quieten_lightning()
    assert logger.level == logging.ERROR and not logger.propagate


def test_freed_memory_is_kept_by_mallopt_and_without_it_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[int, int] = {}

    class Library:
        @staticmethod
        def mallopt(parameter: int, value: int) -> None:
            asked[parameter] = value

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library)
    machine.keep_freed_memory(trim_threshold=5, pad=7)
    assert asked == {-1: 5, -2: 7, -4: 0}  # malloc.h: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    machine.keep_freed_memory()


def test_preparing_leaves_what_the_user_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "keep_freed_memory", lambda: None)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "0")
    with warnings.catch_warnings():
        machine.prepare()
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "0"
