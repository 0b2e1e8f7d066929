"""Reads what wandb wrote offline: LevelDB's log format behind a header of 7 bytes, each record a protobuf."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 32768


def records(path: Path) -> Iterator[Record]:
    """All records of a file, each of one part or of several."""
    content, position, whole = path.read_bytes(), 7, b""
    while position + 7 <= len(content):
        if BLOCK - position % BLOCK < 7:  # too little left in the block for a header
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        whole += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(whole)
            whole = b""


@dataclass
class Logged:
    """One offline run as read back."""

    folder: Path
    run: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Path]] = field(default_factory=dict)
    exit_code: int | None = None

    def image(self, table: str, cell: dict[str, Any]) -> Image.Image:
        """An image of a table's cell, from where it waits for its upload."""
        return Image.open(self.artifacts[f"run-{self.run.run_id}-{table}"][cell["path"]])

    def cells(self, table: str) -> list[dict[str, Any]]:
        """The rows of a logged table with images, by its columns."""
        whole = json.loads(self.artifacts[f"run-{self.run.run_id}-{table}"][f"{table}.table.json"].read_text())
        return [dict(zip(whole["columns"], row)) for row in whole["data"]]

    def table(self, key: str) -> dict[str, Any]:
        """A logged table: `columns` and `data`."""
        path = next(row[f"{key}/path"] for row in reversed(self.history) if f"{key}/path" in row)
        return json.loads((self.folder / "files" / path).read_text())

    def chart(self, key: str) -> dict[str, Any]:
        """How a native chart is drawn: wandb keeps it in the run's configuration."""
        return self.config["_wandb"]["visualize"][key]["panel_config"]


def read_back(path: Path) -> Logged:
    logged = Logged(path.parent)
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            logged.run = record.run
            put(logged.config, record.run.config.update)
        elif kind == "config":
            put(logged.config, record.config.update)
        elif kind == "history":
            logged.history.append(put({}, record.history.item, nested=False))
        elif kind == "summary":
            put(logged.summary, record.summary.update, nested=False)
        elif kind == "artifact":
            contents = record.artifact.manifest.contents
            logged.artifacts[record.artifact.name] = {entry.path: Path(entry.local_path) for entry in contents}
        elif kind == "exit":
            logged.exit_code = record.exit.exit_code
    return logged


def put(into: dict[str, Any], items: Any, nested: bool = True) -> dict[str, Any]:
    """Items with their JSON values; keys of several parts as dictionaries in each other, or joined."""
    for item in items:
        parts = list(item.nested_key) or [item.key]
        place = into
        if nested:
            for part in parts[:-1]:
                place = place.setdefault(part, {})
        place[parts[-1] if nested else "/".join(parts)] = json.loads(item.value_json)
    return into


def offline_runs(folder: Path) -> dict[str, Logged]:
    """The offline runs below `folder` by their job type; no two may share one."""
    found = [read_back(path) for path in sorted(folder.glob("logs/wandb/offline-run-*/run-*.wandb"))]
    by_type = {logged.run.job_type: logged for logged in found}
    assert len(by_type) == len(found)
    return by_type
