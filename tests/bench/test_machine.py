"""Every record says what it was measured on."""

from __future__ import annotations

import re

import torch

from genuq.bench.machine import machine


def test_machine_torch_and_day_are_named():
    found = machine()
    assert found["torch"] == torch.__version__ and "threads" in found["machine"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["date"])
