"""Rectification: mend a failed sample where it is uncertain, and keep the attempt only if the score improves.

States are drawn around the sample's own at a cut, within its uncertain region, and finished; the attempt with the
lowest score replaces the sample if that is lower by a margin. Control: isotropic noise of equal norm in the same
region, through the same rule. Who judges success has no part in the score.

Source: Kou et al., BayesDiff, ICLR 2024, section 4. Region, rule, control and what is measured are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from genuq.applications.augment import (
    candidate_states,
    changes,
    diversity,
    judged_candidates,
    relative_moves,
    require_at_least,
    require_positive,
)
from genuq.applications.cuts import cut_samples, finish_under_draws
from genuq.applications.outcome import Judge, Outcome, Replicates, Rows, clause
from genuq.applications.regions import on_images, require_region, uncertain_region
from genuq.errors import ConfigurationError
from genuq.likelihoods import Likelihood
from genuq.models import GenerativeModel, Sampler, to_unit
from genuq.posteriors import Posterior
from genuq.propagators import Propagator
from genuq.scores import functional

CONTROL = "isotropic noise of equal norm in the same region, through the same rule"


@dataclass(frozen=True)
class Rectification:
    """How to rectify.

    Attributes:
        cut: time of the grid at which states are drawn (BayesDiff: 0.8).
        region: share of the pixels, those of the highest V[x_0], that may change.
        dilate: how often the region grows by its neighbours.
        candidates: K attempts of each sample.
        spread: factor on the standard deviation; 1 is the posterior's own.
        hold: hold everything outside the region to the sample's own trajectory, so that nothing there changes; without
            it only the states at the cut are the same there.
        margin: by which the score must improve, in standard deviations of the failed samples' scores.
    """

    cut: float = 0.8
    region: float = 0.2
    dilate: int = 1
    candidates: int = 4
    spread: float = 1.0
    hold: bool = True
    margin: float = 0.1

    def __post_init__(self) -> None:
        require_at_least("candidates", self.candidates, 2)
        require_at_least("dilate", self.dilate, 0)
        require_positive("spread", self.spread)
        if not 0 < self.region <= 1:
            raise ConfigurationError(f"application.region = {self.region}; it must lie in (0, 1].")
        if self.margin < 0:
            raise ConfigurationError(f"application.margin = {self.margin}; it must be 0 or more.")


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
        moved: (B,) norm of the moves at the cut over that of the state.
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

    The sample and the attempts are scored alike: each is finished from the cut under M weight draws.

    Args:
        region: bool (B, 1, h, w) of the latents that may change; None takes the most uncertain ones.
    """
    how = how or Rectification()
    cut = cut_samples(model, posterior, sampler, indices, how.cut, propagator, seed)
    if region is None:
        region = uncertain_region(cut.final_variance, how.region, how.dilate)
    region = require_region(region)
    held = region if how.hold else None
    pairs = candidate_states(cut, how.candidates, how.spread, seed, region)

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
    )


@dataclass(frozen=True)
class Decision:
    """Which attempt at each sample is the best, and whether it is accepted.

    Attributes:
        before: (N,) scores of the samples, float64.
        scores: (N, K) of the attempts.
        best: (N,) the attempt with the lowest score.
        accepted: bool (N,).
    """

    before: Tensor
    scores: Tensor
    best: Tensor
    accepted: Tensor


def decide(
    attempts: Attempts, likelihood: Likelihood, score: str = "entropy", margin: float = 0.1
) -> tuple[Decision, Decision]:
    """The acceptance rule on ours and on the control's attempts.

    Args:
        score: a name of `genuq.scores.FUNCTIONALS`.
        margin: see `Rectification`.
    """
    variance = likelihood.observation_variance(attempts.embedded_before).value
    before = functional(score)(attempts.embedded_before, variance)
    needed = margin * float(before.std()) if len(before) > 1 else 0.0
    ours, control = (
        _decision(before, functional(score)(embedded.flatten(0, 1), variance).reshape(len(before), -1), needed)
        for embedded in (attempts.embedded_ours, attempts.embedded_control)
    )
    return ours, control


def _decision(before: Tensor, scores: Tensor, needed: float) -> Decision:
    lowest, best = scores.min(1)
    improvement = before - lowest
    return Decision(before, scores, best, (improvement > 0) & (improvement >= needed))


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
    measure really improves (Wilson's intervals); `success_without_rule`, that share of all attempts, accepted or not,
    which a rule that knows nothing would have; `MEASURE_gain`, its mean change over all failed samples, those that
    were left alone counting zero; `accuracy_gain` likewise; `change_inside` and `change_outside`, the root mean square
    change of the best attempt in and around the region, in [-1, 1]; `diversity`, the mean distance between two attempts
    in the judge's features.
    """
    replicates, rows = replicates or Replicates(), Rows()
    before, sides = judge(attempts.before, classes), (attempts.ours, attempts.control)
    after = [judge(chosen(images, decision.best), classes) for images, decision in zip(sides, decisions)]
    accepted = [decision.accepted.double() for decision in decisions]
    ones = torch.ones(len(attempts.before))
    rows.rates("accepted", (accepted[0], ones), (accepted[1], ones), replicates)
    first = before.primary
    gains = [(side.measures[first] - before.measures[first]).double() for side in after]
    improved = [(gain > 0).double() for gain in gains]
    rows.rates("success", (improved[0], accepted[0]), (improved[1], accepted[1]), replicates)
    candidates = attempts.ours.shape[1]
    every = [judged_candidates(judge, images, classes) for images in sides]
    unruled = [
        (side.measures[first].reshape(-1, candidates) > before.measures[first][:, None]).double().mean(1)
        for side in every
    ]
    rows.means("success_without_rule", unruled, replicates)
    for name in dict.fromkeys([first, *(["accuracy"] if "accuracy" in before.measures else [])]):
        pair = [taken * (side.measures[name] - before.measures[name]).double() for taken, side in zip(accepted, after)]
        rows.means(f"{name}_gain", pair, replicates)
    for name, region in (("change_inside", attempts.region), ("change_outside", ~attempts.region)):
        best = (chosen(images, decision.best)[:, None] for images, decision in zip(sides, decisions))
        rows.means(name, (changes(images, attempts.before, region)[:, 0] for images in best), replicates)
    rows.means("diversity", (diversity(side.features_ND, candidates) for side in every), replicates)
    settings = {
        "failed": len(attempts.before),
        "accepted": int(accepted[0].sum()),
        "control_accepted": int(accepted[1].sum()),
        "relative_move": float(attempts.moved.mean()),
        "region_share": float(attempts.region.double().mean()),
    }
    return Outcome("rectify", CONTROL, settings, rows.found, _sentence(rows, settings, first), rows.notes)


def _sentence(rows: Rows, settings: dict, first: str) -> str:
    named = {row.measure: row for row in rows.found}
    opening = (
        f"Of {settings['failed']} failed samples {settings['accepted']} were replaced "
        f"({settings['control_accepted']} with isotropic noise of equal norm): "
    )
    if "success" in named:
        success = clause(named["success"], "the control").replace("success is", "the share that really improved is")
    else:
        success = "no share of real improvements can be given, as one of the two accepted nothing"
    gain = clause(named[f"{first}_gain"], "the control").replace(f"{first} gain", f"the mean gain in {first}")
    return f"{opening}{success}; {gain}."
