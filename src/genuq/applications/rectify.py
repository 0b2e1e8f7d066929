"""Rectification: mend a failed sample where it is uncertain, and keep the attempt only if it is surely better.

States are drawn around the sample's own at a cut, within its uncertain region, and finished. Of the attempts the best
replaces the sample if the rule accepts it: if its score is lower by a margin, if every witness sees the class asked for
more clearly, or both. Control: isotropic noise in the same region, through the same rule. Who judges success has no
part in the rule.

Source: Kou et al., BayesDiff, ICLR 2024, section 4: the states, and the score. The rest is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any

import torch
from torch import Tensor

from genuq.applications.augment import (
    changes,
    diversity,
    judged_candidates,
    relative_moves,
)
from genuq.applications.cuts import (
    Cut,
    cut_samples,
    drawn_states,
    finish_under_draws,
    isotropic_states,
    renewed_isotropic_states,
    renewed_states,
)
from genuq.applications.outcome import Judge, Outcome, Replicates, Rows, clause
from genuq.applications.regions import on_images, require_region, uncertain_region
from genuq.applications.witnesses import Space, asked
from genuq.likelihoods import Likelihood
from genuq.models import GenerativeModel, Sampler, to_unit
from genuq.parts.bounds import NonNegative, OneOf, Positive, Several, Share, Time, WholeNumber, check_fields
from genuq.posteriors import Posterior
from genuq.propagators import Propagator
from genuq.scores import functional

CONTROL = "isotropic noise in the same region, through the same rule"
RULES = ("witnesses", "score", "both")
NOISES = ("renewed", "added")
HARM = 0.01  # of the judge's measure: a fall by more is harm, not numerical noise


@dataclass(frozen=True)
class Rectification:
    """How to rectify.

    Attributes:
        cut: time at which states are drawn, of which the nearest one of the grid is taken (BayesDiff: 0.8).
        region: share of the pixels, those of the highest V[x_0], that may change.
        dilate: how often the region grows by its neighbours.
        candidates: K attempts of each sample.
        spread: factor on the standard deviation; 1 is the posterior's own.
        noise: added, to the state and its own noise (BayesDiff); or renewed, in its place, so that its level stays.
        hold: hold everything outside the region to the sample's own trajectory, so that nothing there changes; without
            it only the states at the cut are the same there.
        rule: what accepts an attempt: witnesses, score, or both.
        margin: by which the score must improve, in standard deviations of the failed samples' scores.
    """

    cut: Time = 0.8
    region: Share = 0.5
    dilate: WholeNumber = 1
    candidates: Several = 16
    spread: Positive = 3000.0
    noise: Annotated[str, OneOf(*NOISES)] = "renewed"
    hold: bool = False
    rule: Annotated[str, OneOf(*RULES)] = "witnesses"
    margin: NonNegative = 0.1

    def __post_init__(self) -> None:
        check_fields(self, "application")

    @property
    def scores(self) -> bool:
        return self.rule != "witnesses"

    @property
    def asks(self) -> bool:
        return self.rule != "score"


@dataclass(frozen=True)
class Attempts:
    """Failed samples and the attempts at them, on the CPU.

    Attributes:
        index: (B,) of the samples.
        before: images (B, C, H, W) in [-1, 1].
        region: bool (B, 1, H, W), on the images.
        ours, control: attempts (B, K, C, H, W).
        embedded_before: (B, 1 + M, D), finished from the cut under the trained weights and under each weight draw.
        embedded_ours, embedded_control: (B, K, 1 + M, D).
        moved, control_moved: (B,) norm of the moves at the cut over that of the state.
    """

    index: Tensor
    before: Tensor
    region: Tensor
    ours: Tensor
    control: Tensor
    embedded_before: Tensor
    embedded_ours: Tensor
    embedded_control: Tensor
    moved: Tensor
    control_moved: Tensor

    @classmethod
    def joined(cls, parts: Sequence[Attempts]) -> Attempts:
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def attempt(
    model: GenerativeModel,
    posterior: Posterior,
    likelihood: Likelihood,
    sampler: Sampler,
    indices: Sequence[int],
    how: Rectification | None = None,
    draws: int = 5,
    propagator: Propagator | None = None,
    seed: int = 0,
    region: Tensor | None = None,
) -> Attempts:
    """K attempts at each of the failed samples `indices` (one batch), and as many of the control.

    The sample and the attempts are scored alike: each is finished from the cut under M weight draws; a rule that does
    not score needs none.

    Args:
        region: bool (B, 1, h, w) of the latents that may change; None takes the most uncertain ones.
    """
    how = how or Rectification()
    cut = cut_samples(model, posterior, sampler, indices, how.cut, propagator, seed)
    if region is None:
        region = uncertain_region(cut.final_variance, how.region, how.dilate)
    region = require_region(region)
    held = region if how.hold else None
    pairs = [states_of(cut, k, how, seed, region) for k in range(how.candidates)]
    draws = draws if how.scores else 0

    def versions(state: Tensor) -> tuple[Tensor, Tensor]:
        images = finish_under_draws(model, posterior, sampler, cut, state, draws, seed, held)
        return images[:, 0], likelihood.embed(to_unit(images), device=model.device)

    _, embedded_before = versions(cut.state)
    made = [[versions(state) for state in states] for states in zip(*pairs)]
    (ours, embedded_ours), (control, embedded_control) = (
        (torch.stack([images for images, _ in side], 1), torch.stack([embedded for _, embedded in side], 1))
        for side in made
    )
    return Attempts(
        torch.tensor(list(indices)),
        cut.images,
        on_images(region, model.shape).cpu(),
        ours,
        control,
        embedded_before,
        embedded_ours,
        embedded_control,
        relative_moves(cut, pairs),
        relative_moves(cut, [(control, ours) for ours, control in pairs]),
    )


def states_of(cut: Cut, candidate: int, how: Rectification, seed: int, region: Tensor) -> tuple[Tensor, Tensor]:
    """The states that a candidate, and the control's, start from."""
    if how.noise == "renewed":
        return (
            renewed_states(cut, candidate, seed, how.spread, region),
            renewed_isotropic_states(cut, candidate, seed, how.spread, region),
        )
    drawn = drawn_states(cut, candidate, seed, how.spread, region)
    return drawn, isotropic_states(cut, drawn, candidate, seed, region)


@dataclass(frozen=True)
class Evidence:
    """By how much each attempt is better than its sample, in one respect.

    Attributes:
        ours, control: (N, K) gains.
        needed: the least gain that counts; it must be above zero in any case.
    """

    ours: Tensor
    control: Tensor
    needed: float


def score_evidence(attempts: Attempts, likelihood: Likelihood, score: str = "entropy", margin: float = 0.1) -> Evidence:
    """By how much the score falls.

    Args:
        score: a name of `genuq.scores.SCORES` whose source is the draws.
        margin: see `Rectification`.
    """
    variance = likelihood.observation_variance(attempts.embedded_before).value
    before = functional(score)(attempts.embedded_before, variance)
    needed = margin * float(before.std()) if len(before) > 1 else 0.0
    ours, control = (
        before[:, None] - functional(score)(embedded.flatten(0, 1), variance).reshape(len(before), -1)
        for embedded in (attempts.embedded_ours, attempts.embedded_control)
    )
    return Evidence(ours, control, needed)


@dataclass(frozen=True)
class Statements:
    """What each witness says of failed samples and the attempts at them: log-odds of the class asked for.

    Attributes:
        before: (W, N).
        ours, control: (W, N, K).
    """

    before: Tensor
    ours: Tensor
    control: Tensor


def statements(attempts: Attempts, spaces: Sequence[Space], classes: Tensor) -> Statements:
    images = (attempts.before, attempts.ours, attempts.control)
    return Statements(*(asked(spaces, each, classes) for each in images))


def witness_evidence(answers: Statements, rise: float) -> Evidence:
    """By how much the log-odds rise to the witness that sees the least rise."""
    ours, control = ((side - answers.before[..., None]).amin(0) for side in (answers.ours, answers.control))
    return Evidence(ours, control, rise)


@dataclass(frozen=True)
class Decision:
    """Which attempt at each sample is the best, (N,), and whether it is accepted, bool (N,)."""

    best: Tensor
    accepted: Tensor


def decide(evidence: Sequence[Evidence]) -> tuple[Decision, Decision]:
    """The acceptance rule on ours and on the control's attempts.

    Of the attempts that every evidence accepts the best by the first one is taken; where there is none, the best of
    all stands for what was refused.
    """
    needed = [part.needed for part in evidence]
    ours = _decision([part.ours for part in evidence], needed)
    return ours, _decision([part.control for part in evidence], needed)


def _decision(gains: Sequence[Tensor], needed: Sequence[float]) -> Decision:
    enough_NK = torch.stack([(gain > 0) & (gain >= least) for gain, least in zip(gains, needed)]).all(0)
    accepted = enough_NK.any(1)
    ranked_NK = torch.where(enough_NK | ~accepted[:, None], gains[0], -torch.inf)
    return Decision(ranked_NK.argmax(1), accepted)


def chosen(images: Tensor, best: Tensor) -> Tensor:
    """The best attempt at each sample (N, ...) of (N, K, ...)."""
    return images[torch.arange(len(images)), best]


def rectification_outcome(
    attempts: Attempts,
    decisions: tuple[Decision, Decision],
    judge: Judge,
    classes: Tensor | None,
    replicates: Replicates | None = None,
) -> Outcome:
    """What the judge says, beside the control.

    Rows: `accepted`, the share of failed samples that were replaced; `success`, the share of the accepted whose first
    measure rises at all, and `harm`, of those in which it falls by more than 0.01 (Wilson's intervals); `mended`, the
    share of failed samples that were replaced and rise by more than 0.01; `success_without_rule`, the share of rises of
    all attempts, accepted or not, which a rule that knows nothing would have; `MEASURE_gain`, its mean change over all
    failed samples, those that were left alone counting zero; `accuracy_gain` likewise; `change_inside` and
    `change_outside`, the root mean square change of the best attempt in and around the region, in [-1, 1]; `diversity`,
    the mean distance between two attempts in the judge's features.
    """
    replicates, rows = replicates or Replicates(), Rows()
    sides = [_Side(images, decision) for images, decision in zip((attempts.ours, attempts.control), decisions)]
    before, after = judge(attempts.before, classes), [judge(side.best, classes) for side in sides]
    ones, first = torch.ones(len(attempts.before)), before.primary
    gains = [(found.measures[first] - before.measures[first]).double() for found in after]
    for name, counted, among in (
        ("accepted", [side.accepted for side in sides], [ones, ones]),
        ("success", [(gain > 0).double() for gain in gains], [side.accepted for side in sides]),
        ("harm", [(gain < -HARM).double() for gain in gains], [side.accepted for side in sides]),
        ("mended", [side.accepted * (gain > HARM) for side, gain in zip(sides, gains)], [ones, ones]),
    ):
        ours, control = zip(counted, among)
        rows.rates(name, ours, control, replicates)
    candidates = attempts.ours.shape[1]
    every = [judged_candidates(judge, side.images, classes) for side in sides]
    rises = [found.measures[first].reshape(-1, candidates) > before.measures[first][:, None] for found in every]
    rows.means("success_without_rule", (rise.double().mean(1) for rise in rises), replicates)
    for name in dict.fromkeys([first, *(["accuracy"] if "accuracy" in before.measures else [])]):
        pair = (side.accepted * (found.measures[name] - before.measures[name]) for side, found in zip(sides, after))
        rows.means(f"{name}_gain", pair, replicates)
    for name, region in (("change_inside", attempts.region), ("change_outside", ~attempts.region)):
        rows.means(name, (changes(side.best[:, None], attempts.before, region)[:, 0] for side in sides), replicates)
    rows.means("diversity", (diversity(found.features_ND, candidates) for found in every), replicates)
    settings = _settings(attempts, decisions)
    return Outcome("rectify", CONTROL, settings, rows.found, _sentence(rows, settings, first), rows.notes)


class _Side:
    """Attempts (N, K, C, H, W), or the control's, and what was decided on them: `best` (N, ...), `accepted` (N,)."""

    def __init__(self, images: Tensor, decision: Decision) -> None:
        self.images, self.best, self.accepted = images, chosen(images, decision.best), decision.accepted.double()


def _settings(attempts: Attempts, decisions: tuple[Decision, Decision]) -> dict[str, Any]:
    """What was done, in numbers."""
    return {
        "failed": len(attempts.before),
        "accepted": int(decisions[0].accepted.sum()),
        "control_accepted": int(decisions[1].accepted.sum()),
        "relative_move": float(attempts.moved.mean()),
        "control_relative_move": float(attempts.control_moved.mean()),
        "region_share": float(attempts.region.double().mean()),
    }


def _sentence(rows: Rows, settings: dict[str, Any], first: str) -> str:
    named = {row.measure: row for row in rows.found}
    opening = (
        f"Of {settings['failed']} failed samples {settings['accepted']} were replaced "
        f"({settings['control_accepted']} with isotropic noise): "
    )
    if "success" in named:
        success = clause(named["success"], "the control").replace("success is", "the share that really improved is")
        success += f", of all attempts it is {named['success_without_rule'].ours.value:.3g}"
    else:
        nothing = "the control accepted nothing to compare with" if settings["accepted"] else "nothing was accepted"
        success = f"no share of real improvements can be given, as {nothing}"
    gain = clause(named[f"{first}_gain"], "the control").replace(f"{first} gain", f"the mean gain in {first}")
    return f"{opening}{success}; {gain}."
