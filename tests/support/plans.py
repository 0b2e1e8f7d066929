"""Plans as the command prints them as data."""

from __future__ import annotations

import json
from typing import Any

import pytest

from genuq.cli import plan as plan_command


def planned(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert plan_command.main(["--json", "--no-calibration", *arguments]) == status
    return json.loads(capsys.readouterr().out)


def to_make(plan: dict[str, Any]) -> dict[str, int]:
    return {stage: row["to_make"] for stage, row in plan["stages"].items()}
