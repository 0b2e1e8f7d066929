"""Weights & Biases: offline unless asked, and what was logged can be read back."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from PIL import Image
from small_runs import POINTS, composed

from genuq.stages.loggers import log_results, scalar_results
from genuq.stages.run import Run


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, whatever wandb would like; its own settings in the test's folder."""
    real = socket.socket.connect

    def local_only(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a connection to {address} was tried")
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb-own"))


def records(path: Path) -> Iterator[Any]:
    """The records of wandb's offline file: LevelDB's log format behind a header of 7 bytes, each a protobuf."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, block, whole = path.read_bytes(), 32768, b""
    position = 7
    while position + 7 <= len(content):
        if block - position % block < 7:  # too little left in the block for a header
            position += block - position % block
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        whole += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(whole)
            whole = b""


RESULTS: dict[str, Any] = {
    "config": {"seed": 3},
    "summary": {
        "sentence": "It finds the bad samples.",
        "table": [
            {"score": "entropy", "label": "Generative uncertainty", "kind": "score", "spearman": -0.5, "auroc": 0.75},
            {"score": "random", "label": "Random", "kind": "control", "spearman": 0.01, "auroc": None},
        ],
    },
    "posterior": {"scale": {"temperature": 4.0, "n_effective": 60000, "how": {"temperature": "measured"}}},
    "samples": {"columns": ["index", "score_entropy"], "rows": [[0, -1.5], [1, 2.5]]},
}


def test_the_numbers_are_those_of_the_table_and_the_scale() -> None:
    assert scalar_results(RESULTS) == {
        "entropy/spearman": -0.5,
        "entropy/auroc": 0.75,
        "random/spearman": 0.01,
        "posterior/temperature": 4.0,
        "posterior/n_effective": 60000,
    }


def test_offline_wandb_holds_the_numbers_and_the_sentence(tmp_path: Path, quiet: None) -> None:
    run = Run(composed(*POINTS, "logger=wandb"), tmp_path / "run", "genuq")
    Image.new("L", (4, 4)).save(tmp_path / "curves.png")
    log_results(run, RESULTS, {"curves": tmp_path / "curves.png"})
    wandb.teardown()  # as at the end of a process: its service writes the file to the end
    offline = list((tmp_path / "run" / "logs" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(offline) == 1
    logged, summary = {}, {}
    for record in records(offline[0]):
        for item in record.history.item:
            logged["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
        for item in record.summary.update:
            summary["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    assert logged["entropy/auroc"] == 0.75 and logged["posterior/n_effective"] == 60000
    assert logged["samples/nrows"] == 2 and logged["plots/curves/width"] == 4
    assert summary["sentence"] == "It finds the bad samples."


def test_without_a_logger_nothing_is_written(tmp_path: Path) -> None:
    run = Run(composed(*POINTS, "logger=none"), tmp_path / "run", "genuq")
    log_results(run, RESULTS, {})
    assert not (tmp_path / "run").exists()
