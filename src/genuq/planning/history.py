"""How long artefacts took on this machine before, from the records of runs and the manifests in the store."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from genuq import files, machine
from genuq.errors import GenuqError
from genuq.planning.costs import WORKS, work_of
from genuq.planning.planned import Memory, PlannedRun
from genuq.planning.work import Work
from genuq.store.artefact import MANIFEST, StageFolder, fingerprint
from genuq.store.records import RUNS, RunRecord, read_record

NEWEST = 30  # runs that are looked at
SPREAD = 0.3  # of a single artefact's time


@dataclass(frozen=True)
class TimeEstimate:
    """Seconds with their range, and where they come from; None where nothing tells them.

    Attributes:
        how: `2 of the store`, `measured`, `counted` (from a card's published peak), `rule`, `unknown`.
    """

    seconds: float | None
    low: float = 0.0
    high: float = 0.0
    how: str = "unknown"

    def times(self, share: float) -> TimeEstimate:
        """Of a share of the work."""
        if self.seconds is None:
            return self
        return TimeEstimate(share * self.seconds, share * self.low, share * self.high, self.how)


class History:
    """Seconds for each unit of the amount of work, by stage and likeness.

    Args:
        store: whose newest runs are looked at. Records that cannot be read, or whose data are gone, are passed over:
            a plan needs none of them.
    """

    def __init__(self, store: Path, memory: Memory) -> None:
        self.rates: dict[str, list[float]] = defaultdict(list)
        self._seen: set[str] = set()
        paths = sorted((store / RUNS).glob("*/*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in paths[:NEWEST]:
            try:
                self._look(store, read_record(path), memory)
            except (GenuqError, OSError, KeyError, TypeError, AttributeError):
                continue

    def _look(self, store: Path, record: RunRecord, memory: Memory) -> None:
        run = PlannedRun(OmegaConf.create(record.config), store / record.folder, record.command, memory=memory)
        manifests = {
            name: files.read_json(store / record.artefacts[name] / MANIFEST)
            for name in record.seconds
            if name != "fit" and (name in WORKS or name.startswith("posterior."))
        }
        for name, manifest in manifests.items():
            run.artefacts[name] = StageFolder(store / record.artefacts[name], manifest["made_from"])
        for name, manifest in manifests.items():
            if manifest["fingerprint"] in self._seen or manifest.get("machine") != machine.machine():
                continue
            self._seen.add(manifest["fingerprint"])
            work = work_of(run, name)
            self.rates[_key(name, work)].append(_seconds(manifest, run) / work.amount)

    def estimate(self, artefact: str, work: Work) -> TimeEstimate | None:
        """From artefacts that are alike; None where there are none."""
        rates = self.rates.get(_key(artefact, work))
        if not rates:
            return None
        middle, share = statistics.median(rates), SPREAD if len(rates) < 3 else SPREAD / 2
        low, high = min(rates) * (1 - share), max(rates) * (1 + share)
        how = f"{len(rates)} of the store"
        return TimeEstimate(work.amount * middle, work.amount * low, work.amount * high, how)


def _key(artefact: str, work: Work) -> str:
    return f"{artefact.partition('.')[0]} {fingerprint(work.like)}"


def _seconds(manifest: Mapping[str, Any], run: PlannedRun) -> float:
    """That making the artefact took; of a sampling that was interrupted, what its samples took when it went on.

    Those of the samples are of all processes together.
    """
    per_sample = manifest["notes"].get("seconds_per_sample", {})
    return max(manifest["seconds"], sum(per_sample.values()) * run.config.sampler.samples / run.processes)
