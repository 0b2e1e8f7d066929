"""Rectification of a run's failed samples: which ones they are, who accepts an attempt, and what is shown of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor

from genuq.applications.finished_run import EXAMPLES, FinishedRun, Made, Sampling
from genuq.applications.rectify import (
    CONTROL,
    Attempts,
    Decision,
    Rectification,
    attempt,
    chosen,
    decide,
    rectification_outcome,
    score_evidence,
)
from genuq.applications.register import APPLICATIONS
from genuq.applications.witness_panel import Verdict, WitnessPanel, witness_panel
from genuq.parts.bounds import Items, Limits, OneOf, Positive, Several, Share

FAILED_BY = ("score", "witnesses")


@dataclass(frozen=True)
class RectifySettings(Rectification):
    """How to rectify the samples of a run.

    Attributes:
        failed: share of the samples that count as failed.
        failed_by: who says so: `witnesses` or `score`.
        witnesses: their spaces: `scoring`, or names of extractors.
        witness_images: training images that each learns from.
        rise: of the log-odds that a witness asks for; None calibrates it, as `sure` asks.
        sure: share of accepted attempts that are to be real improvements.
        propagator: of weight uncertainty to the states at the cut.
    """

    failed: Share = 0.25
    failed_by: Annotated[str, OneOf(*FAILED_BY)] = "witnesses"
    witnesses: Annotated[tuple[str, ...], Items(distinct=True)] = ("scoring", "pixels")
    witness_images: Several = 8192
    rise: Positive | None = None
    sure: Annotated[float, Limits(least=0.5, below=1)] = 0.98
    propagator: str = "trajectory"

    @property
    def as_read(self) -> RectifySettings:
        """The same rule, with the defaults in place of what it does not read."""
        unread = [] if self.scores else ["margin"]
        unread += [] if self.asks else ["rise"]
        unread += [] if self.asks and self.rise is None else ["sure"]
        unread += [] if self.asks_witnesses else ["witnesses", "witness_images"]
        defaults: dict[str, Any] = {part.name: part.default for part in fields(self) if part.name in unread}
        return replace(self, **defaults)

    @property
    def asks_witnesses(self) -> bool:
        return self.failed_by == "witnesses" or self.asks


def make_attempts(how: RectifySettings, known: Sampling, indices: list[int]) -> Attempts:
    """`attempt` with what is known of the run."""
    given = (known.model, known.posterior, known.likelihood, known.sampler, indices, how)
    return attempt(*given, known.draws, known.propagator(how.propagator), known.seed)


@APPLICATIONS.add(
    name="rectify",
    label="Rectify",
    settings=RectifySettings,
    control=CONTROL,
    make_samples=make_attempts,
    needs_images=True,
    resamples=(),
)
def run_rectify(known: FinishedRun, how: RectifySettings) -> Made:
    """Mend failed samples where they are uncertain, and keep an attempt only if it is surely better.

    Examples: failed samples, the best attempt at each, and the control's best; the accepted ones first.
    """
    panel = None
    if how.asks_witnesses:
        assert known.classes is not None
        panel = witness_panel(known, asdict(how), known.classes)
    failed = failed_samples(known, how, panel)
    made = known.in_batches(failed, Attempts, partial(make_attempts, how, known))
    verdict = panel.verdict(made) if panel and how.asks else None
    evidence = [verdict.evidence] if verdict else []
    if how.scores:
        evidence.append(score_evidence(made, known.likelihood, known.functional, how.margin))
    decisions = decide(evidence)
    outcome = rectification_outcome(made, decisions, known.judge, known.classes_at(made.index), known.replicates)
    facts, notes = facts_of(panel, verdict)
    outcome = replace(outcome, settings={**outcome.settings, **facts}, notes=[*outcome.notes, *notes])
    return outcome, examples_of(known, made, decisions)


def failed_samples(known: FinishedRun, how: RectifySettings, panel: WitnessPanel | None) -> list[int]:
    """Those that the witnesses, or the score, doubt most."""
    doubt = panel.doubt if panel and how.failed_by == "witnesses" else known.score
    count = max(1, round(how.failed * len(doubt)))
    return doubt.argsort(descending=True, stable=True)[:count].tolist()


def facts_of(panel: WitnessPanel | None, verdict: Verdict | None) -> tuple[dict[str, object], list[str]]:
    """What the witnesses are and found, for the report, and what a reader must know."""
    facts = panel.facts if panel else {}
    return (facts | verdict.facts, verdict.notes) if verdict else (facts, [])


def examples_of(known: FinishedRun, made: Attempts, decisions: Sequence[Decision]) -> dict[str, Tensor]:
    first = (~decisions[0].accepted).int().argsort(stable=True)[:EXAMPLES]
    ours, control = (chosen(side, d.best)[first] for side, d in zip((made.ours, made.control), decisions))
    images = {"before": made.before[first], "after": ours, "control": control}
    taken = (decision.accepted[first].to(torch.uint8) for decision in decisions)
    verdicts = dict(zip(("accepted", "control_accepted"), taken))
    return known.examples(made.index[first], images, made.region[first]) | verdicts
