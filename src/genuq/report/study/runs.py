"""What the page of a study shows: its runs, each with its summary, its curves, and of some the samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genuq.analysis.evaluation_entries import JudgeEntry, SampleTable, Summary, SummaryRow
from genuq.analysis.score_entries import Curve, Number


@dataclass(frozen=True)
class StudyRun:
    """One run of the study.

    Attributes:
        values: of the keys in which the runs differ.
        score: name of the score that the run is about.
        seconds: of all its stages.
        report: address of its own page, as seen from the study's; None where that is gone.
        missing: stages whose artefacts are gone from the store.
        evaluations: of the network for one sample, by score.
        curves: by score, the run's own first, and by metric; none where the evaluation is gone.
        samples, images: some samples, a row each, and their images, uint8 (N, C, H, W), or points (N, D); None where
            the page shows none.
        samples_total: of the run.
    """

    name: str
    id: str
    command: str
    values: Sequence[str]
    seed: Any
    score: str
    summary: Summary
    judge: JudgeEntry
    seconds: float
    report: str | None
    missing: Sequence[str]
    evaluations: Mapping[str, Number]
    curves: Mapping[str, Mapping[str, Curve]]
    samples: SampleTable | None = None
    samples_total: int = 0
    images: Any = None

    @property
    def own(self) -> SummaryRow | None:
        """The line of the summary's table that is about the run's own score."""
        return self.summary.row(self.score)


@dataclass(frozen=True)
class StudyRuns:
    """All runs of a study, and what is not there.

    Attributes:
        commands: that make the runs.
        keys: of the configuration, in which the runs differ.
        samples_shown, samples_total: of the run that shows, and of the run that has, most of them.
        asked: how many runs the study asks for, if it says so.
        absent: runs that are not there, as commands, or the gaps of a grid.
        unevaluated: names of runs without results.
        left_out: names of runs that are not asked for, or were made again since.
        page_command: that made the page.
    """

    name: str
    question: str | None
    commands: Sequence[str]
    genuq_version: str
    keys: Sequence[str]
    runs: Sequence[StudyRun]
    samples_shown: int
    samples_total: int
    asked: int | None
    absent: Sequence[str]
    unevaluated: Sequence[str]
    left_out: Sequence[str]
    page_command: str = ""
