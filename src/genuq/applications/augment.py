"""Augmentation: further samples near one, from states drawn around its own at a cut. Control: isotropic noise of equal
norm at the same cut.

Source: Kou et al., BayesDiff, ICLR 2024, section 4. The control and what is measured are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from genuq.applications.cuts import Cut, cut_samples, drawn_states, finish, isotropic_states
from genuq.applications.finished_run import FinishedRun, Made, Sampling
from genuq.applications.outcome import Judge, Judgement, Outcome, Replicates, Rows, clause
from genuq.applications.register import APPLICATIONS
from genuq.models import GenerativeModel, Sampler
from genuq.parts.bounds import Count, Positive, Several, Time, check_fields
from genuq.posteriors import Posterior
from genuq.propagators import Propagator

CONTROL = "isotropic noise of equal norm"


@dataclass(frozen=True)
class Augmentation:
    """How to augment.

    Attributes:
        cut: time at which states are drawn, of which the nearest one of the grid is taken (BayesDiff: 0.8).
        candidates: K, new samples of each.
        spread: factor on the standard deviation; 1 is the posterior's own.
    """

    cut: Time = 0.8
    candidates: Several = 4
    spread: Positive = 1.0

    def __post_init__(self) -> None:
        check_fields(self, "application")


@dataclass(frozen=True)
class Augmented:
    """Samples and what was made of them, float32 on the CPU.

    Attributes:
        index: (B,) of the samples.
        before: the samples (B, ...).
        ours, control: (B, K, ...).
        moved: (B,) norm of the moves at the cut over that of the state, averaged over candidates; the control's too.
    """

    index: Tensor
    before: Tensor
    ours: Tensor
    control: Tensor
    moved: Tensor


def augment(
    model: GenerativeModel,
    posterior: Posterior,
    sampler: Sampler,
    indices: Sequence[int],
    how: Augmentation | None = None,
    propagator: Propagator | None = None,
    seed: int = 0,
) -> Augmented:
    """K further samples of each of `indices` (one batch), and as many of the control.

    Ancestral noise is the sample's own for all candidates: they differ by their states at the cut alone.
    """
    how = how or Augmentation()
    cut = cut_samples(model, posterior, sampler, indices, how.cut, propagator, seed)
    pairs = candidate_states(cut, how.candidates, how.spread, seed)
    ours, control = (
        torch.stack([finish(model, sampler, cut, state) for state in states], dim=1) for states in zip(*pairs)
    )
    return Augmented(torch.tensor(list(indices)), cut.images, ours, control, relative_moves(cut, pairs))


def candidate_states(
    cut: Cut, candidates: int, spread: float, seed: int, region: Tensor | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Of each candidate: the state drawn around the sample's own, and the control's."""
    pairs = []
    for k in range(candidates):
        drawn = drawn_states(cut, k, seed, spread, region)
        pairs.append((drawn, isotropic_states(cut, drawn, k, seed, region)))
    return pairs


def relative_moves(cut: Cut, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """(B,) norm of the moves over that of the state, averaged over the candidates."""
    norms = torch.stack([(drawn - cut.state).double().flatten(1).norm(dim=1) for drawn, _ in pairs]).mean(0)
    return (norms / cut.state.double().flatten(1).norm(dim=1)).cpu()


def augmentation_outcome(
    found: Augmented, judge: Judge, classes: Tensor | None, replicates: Replicates | None = None
) -> Outcome:
    """Quality of the new samples, their distance from the old one and from each other, beside the control's.

    Rows: every measure of the judge (mean over candidates), `distance` (root mean square change of the sample) and
    `diversity` (mean distance between two candidates in the judge's features). Intervals over samples.
    """
    replicates, rows = replicates or Replicates(), Rows()
    ours, control = (judged_candidates(judge, images, classes) for images in (found.ours, found.control))
    candidates = found.ours.shape[1]
    for name in ours.measures:
        pair = [side.measures[name].double().reshape(-1, candidates).mean(1) for side in (ours, control)]
        rows.means(name, pair, replicates)
    pair = [changes(images, found.before).mean(1) for images in (found.ours, found.control)]
    rows.means("distance", pair, replicates)
    pair = [diversity(side.features_ND, candidates) for side in (ours, control)]
    rows.means("diversity", pair, replicates)
    before = judge(found.before, classes)
    stays = f"it is {float(before.measures[before.primary].double().mean()):.3g} before"
    spread = next(row for row in rows.found if row.measure == "diversity")
    sentence = (
        f"{candidates} further samples of each of {len(found.before)}: "
        f"{clause(rows.found[0], 'isotropic noise of equal norm')}, and {stays}; "
        f"{clause(spread, 'the same')}."
    )
    settings = {"candidates": candidates, "samples": len(found.before), "relative_move": float(found.moved.mean())}
    return Outcome("augment", CONTROL, settings, rows.found, sentence, rows.notes)


def judged_candidates(judge: Judge, images: Tensor, classes: Tensor | None) -> Judgement:
    """The judge on candidates (N, K, ...), sample by sample."""
    return judge(images.flatten(0, 1), None if classes is None else classes.repeat_interleave(images.shape[1]))


def changes(images: Tensor, before: Tensor, where: Tensor | None = None) -> Tensor:
    """(N, K) root mean square change of candidates (N, K, ...) against `before` (N, ...), within a region of each."""
    squared = (images.double() - before.double()[:, None]).square()
    if where is None:
        return squared.flatten(2).mean(2).sqrt()
    weights = where[:, None].expand_as(squared).double()
    return ((squared * weights).flatten(2).sum(2) / weights.flatten(2).sum(2).clamp_min(1)).sqrt()


def diversity(features: Tensor, candidates: int) -> Tensor:
    """(N,) mean distance between two different candidates of a sample, from features (N * K, D)."""
    features_NKD = features.double().reshape(-1, candidates, features.shape[-1])
    return torch.cdist(features_NKD, features_NKD).sum((1, 2)) / (candidates * (candidates - 1))


@dataclass(frozen=True)
class AugmentSettings(Augmentation):
    """How to augment the samples of a run.

    Attributes:
        samples: how many of them, the first ones.
        propagator: of weight uncertainty to the states at the cut.
    """

    samples: Count = 64
    propagator: str = "trajectory"


def make_augmented(how: AugmentSettings, known: Sampling, indices: list[int]) -> Augmented:
    """`augment` with what is known of the run."""
    propagator = known.propagator(how.propagator)
    return augment(known.model, known.posterior, known.sampler, indices, how, propagator, known.seed)


@APPLICATIONS.add(
    name="augment",
    label="Augment",
    settings=AugmentSettings,
    control=CONTROL,
    make_samples=make_augmented,
    resamples=(),
)
def run_augment(known: FinishedRun, how: AugmentSettings) -> Made:
    """Further samples near one, from states drawn around its own at a cut.

    Examples: a sample, its first new one, and the control's.
    """
    made = known.in_batches(range(how.samples), Augmented, partial(make_augmented, how, known))
    outcome = augmentation_outcome(made, known.judge, known.classes_at(made.index), known.replicates)
    images = {"before": made.before, "after": made.ours[:, 0], "control": made.control[:, 0]}
    return outcome, known.examples(made.index, images)
