"""Artefacts and files that others are made from, found at any depth of a record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genuq.identity import neutral
from genuq.store.artefact import StageFolder
from genuq.store.upstream import Upstream, upstream_of


@dataclass(frozen=True)
class Record:
    direct: Upstream
    nested: Any
    unread: Any = neutral(None)


def test_every_artefact_within_a_record_is_found(tmp_path: Path) -> None:
    fit, sample, score, other = (
        Upstream(name, StageFolder.in_store(tmp_path, {"stage": name})) for name in ("fit", "sample", "score", "other")
    )
    record = Record(fit, {"list": [sample, Record(score, None)]}, unread=other)
    assert [one.stage for one in upstream_of(record)] == ["fit", "sample", "score"]
    assert fit.identity == fit.folder.fingerprint and fit.path == fit.folder.path
