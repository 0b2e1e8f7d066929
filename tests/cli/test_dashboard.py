"""`genuq dashboard`: what a dry run prints is what would be sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from genuq.cli.dashboard import main
from genuq.store.records import write_record
from genuq.studies.dashboard_content import report_of, workspace_of
from support.made_sweep import SWEEP, board, record


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for entry in SWEEP:
        write_record(tmp_path, entry)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_a_dry_run_prints_the_objects_own_dump(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "sweep", "--store", store, "--entity", "us", "--dry-run")
    dumped = yaml.safe_load(text)
    sent = workspace_of(board())._to_model()
    assert dumped["workspace"]["spec"] == json.loads(sent.spec.model_dump_json(by_alias=True, exclude_none=True))
    sent = report_of(board())._to_model()
    assert dumped["report"]["spec"] == json.loads(sent.spec.model_dump_json(by_alias=True, exclude_none=True))
    assert dumped["workspace"]["entity"] == dumped["report"]["project"]["entityName"] == "us"
    assert dumped["workspace"]["project"] == dumped["report"]["project"]["name"] == "uncertain"
    assert printed(capsys, "sweep", "--store", store, "--entity", "us", "--dry-run") == text


def test_the_entity_is_that_of_the_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(tmp_path, record(0, logger__entity="team"))
    assert yaml.safe_load(printed(capsys, "sweep", "--store", tmp_path, "--dry-run"))["workspace"]["entity"] == "team"
