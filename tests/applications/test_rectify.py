"""Rectification: attempts stay in their region, are scored like the sample, and are accepted by the rule alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from genuq.analysis.intervals import wilson_interval
from genuq.applications import (
    Attempts,
    Decision,
    Evidence,
    Rectification,
    Replicates,
    Space,
    asked,
    attempt,
    chosen,
    decide,
    drawn_states,
    finish,
    fit_witness,
    rectification_outcome,
    renewed_isotropic_states,
    renewed_states,
    score_evidence,
    statements,
    uncertain_region,
    witness_evidence,
)
from genuq.errors import ConfigurationError
from genuq.likelihoods import PixelLikelihood
from genuq.models import to_unit
from genuq.posteriors import swapped
from genuq.scores import entropy
from support.application_cases import MODEL, POSTERIOR, SAMPLER, by_brightness, cut, generator

LIKELIHOOD = PixelLikelihood((1, 8, 8), 1e-4)
HOW = Rectification(candidates=3, region=0.25, dilate=1, spread=6.0, noise="added", hold=True, rule="score")


def attempted(indices=range(5), how: Rectification = HOW, **options) -> Attempts:
    return attempt(MODEL, POSTERIOR, LIKELIHOOD, SAMPLER, indices, how, 2, **options)


def test_nothing_outside_the_region_changes() -> None:
    found = attempted()
    outside = ~found.region[:, None].expand_as(found.ours)
    for side in (found.ours, found.control):
        assert torch.equal(side[outside], found.before[:, None].expand_as(side)[outside])
        assert (side - found.before[:, None])[~outside].abs().mean() > 0.01
    assert torch.equal(found.region, uncertain_region(cut(5).final_variance, 0.25, 1))


def test_without_holding_only_the_states_at_the_cut_are_the_same_there() -> None:
    """Independent pixels: what is the same at the cut stays the same, to rounding, even without holding."""
    free, held = attempted(how=replace(HOW, hold=False)), attempted()
    torch.testing.assert_close(free.ours, held.ours, rtol=0, atol=1e-5)


def test_samples_and_attempts_are_scored_alike_under_the_posteriors_own_draws() -> None:
    found, at = attempted(), cut(5)
    region = found.region
    states = {"before": at.state, "ours": drawn_states(at, 1, spread=6.0, region=region)}
    embedded = {"before": found.embedded_before, "ours": found.embedded_ours[:, 1]}
    for name, state in states.items():
        expected = [finish(MODEL, SAMPLER, at, state, region)]
        for m in range(2):
            with swapped(MODEL.head, POSTERIOR.draw(m, 0)):
                expected.append(finish(MODEL, SAMPLER, at, state, region))
        assert torch.equal(embedded[name], LIKELIHOOD.embed(to_unit(torch.stack(expected, 1))))


def test_renewed_noise_starts_the_attempts_and_the_control() -> None:
    how, at = replace(HOW, noise="renewed", spread=1e9), cut(5)
    found = attempted(how=how)
    for states, side in ((renewed_states, found.ours), (renewed_isotropic_states, found.control)):
        state = states(at, 2, 0, 1e9, found.region)
        assert torch.equal(side[:, 2], finish(MODEL, SAMPLER, at, state, found.region))
    torch.testing.assert_close(found.moved, found.control_moved, rtol=0.3, atol=0)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(found.ours, attempted(how=replace(how, noise="added", spread=6.0)).ours)


def test_a_rule_that_asks_witnesses_alone_needs_no_draws() -> None:
    scored, plain = attempted(), attempted(how=replace(HOW, rule="witnesses"))
    assert torch.equal(plain.ours, scored.ours) and torch.equal(plain.control, scored.control)
    assert plain.embedded_ours.shape == (5, 3, 1, 64) and scored.embedded_ours.shape == (5, 3, 3, 64)
    assert torch.equal(plain.embedded_ours[:, :, 0], scored.embedded_ours[:, :, 0])


def test_an_attempt_does_not_depend_on_the_batch() -> None:
    whole, alone = attempted(), attempted([3])
    for name in ("region", "ours", "control", "embedded_ours"):
        torch.testing.assert_close(getattr(alone, name)[0], getattr(whole, name)[3], rtol=1e-4, atol=1e-5)
    joined = Attempts.joined([attempted([0, 1]), attempted([2, 3, 4])])
    torch.testing.assert_close(joined.control, whole.control, rtol=1e-4, atol=1e-5)


def test_a_region_may_be_given_but_not_empty() -> None:
    region = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    region[:, :, 2:4, 2:4] = True
    found = attempted(range(2), region=region)
    assert torch.equal(found.region, region)
    region[1] = False
    with pytest.raises(ConfigurationError, match=r"the region selects nothing of image 1"):
        attempted(range(2), region=region)


def spread_out(widths: Tensor) -> Tensor:
    """Embeddings (..., M, D) of the given standard deviation."""
    pattern = torch.tensor([-1.0, 1.0, -1.0, 1.0])[:, None] * torch.ones(3)
    return widths[..., None, None] * pattern


def made(before: Tensor, ours: Tensor, control: Tensor, images: Tensor, attempts: Tensor, other: Tensor) -> Attempts:
    count = len(before)
    region = torch.ones(count, 1, 2, 2, dtype=torch.bool)
    embedded = (spread_out(widths) for widths in (before, ours, control))
    return Attempts(torch.arange(count), images, region, attempts, other, *embedded, *torch.ones(2, count))


def random_attempts(count: int = 60, candidates: int = 3, seed: int = 0) -> Attempts:
    source = generator(seed)
    widths = [0.5 + torch.rand(count, *more, generator=source) for more in ((), (candidates,), (candidates,))]
    images = torch.randn(count, 1, 2, 2, generator=source)
    sides = [images[:, None] + torch.randn(count, candidates, 1, 2, 2, generator=source) for _ in range(2)]
    return made(*widths, images, *sides)


def by_score(attempts: Attempts, margin: float = 0.1) -> tuple[Decision, Decision]:
    return decide([score_evidence(attempts, LIKELIHOOD, margin=margin)])


@pytest.mark.parametrize("margin", [0.0, 0.5, 2.0])
def test_the_score_alone_by_hand(margin: float) -> None:
    attempts = random_attempts()
    ours, _ = by_score(attempts, margin)
    before = entropy(attempts.embedded_before, 1e-4)
    for n in range(60):
        scores = [float(entropy(attempts.embedded_ours[n, k : k + 1], 1e-4)) for k in range(3)]
        best = min(range(3), key=scores.__getitem__)
        assert int(ours.best[n]) == best
        gain = float(before[n]) - scores[best]
        assert bool(ours.accepted[n]) == (gain > 0 and gain >= margin * float(before.std()))
    assert 0 < ours.accepted.sum() < 60


def two_witnesses(images: Tensor) -> list[Space]:
    """One sees the first column, the other the second; class 1 is bright."""
    labels = (images.mean((1, 2, 3)) > 0).long()
    ways = (lambda x: x[:, 0, :, 0], lambda x: x[:, 0, :, 1])
    return [Space(str(w), way, fit_witness(way(images), labels, 2)) for w, way in enumerate(ways)]


def test_every_witness_must_see_the_class_rise() -> None:
    attempts = random_attempts()
    classes, spaces = torch.arange(60) % 2, two_witnesses(random_attempts(seed=7).before)
    found = witness_evidence(statements(attempts, spaces, classes), 0.3)
    before = asked(spaces, attempts.before, classes)
    for side, gains in ((attempts.ours, found.ours), (attempts.control, found.control)):
        for k in range(3):
            rises = [asked([space], side[:, k], classes)[0] - before[w] for w, space in enumerate(spaces)]
            torch.testing.assert_close(gains[:, k], torch.minimum(*rises))
    ours, control = decide([found])
    assert torch.equal(ours.accepted, found.ours.amax(1) >= 0.3) and torch.equal(ours.best, found.ours.argmax(1))
    assert torch.equal(control.accepted, found.control.amax(1) >= 0.3)
    assert 0 < ours.accepted.sum() < 60


def test_all_evidence_must_agree_and_the_first_ranks() -> None:
    first = torch.tensor([[0.9, 0.5, 0.4], [0.9, 0.2, 0.1], [0.3, 0.2, 0.1], [0.5, 0.6, 0.0]])
    second = torch.tensor([[0.0, 1.0, 2.0], [-1.0, 0.5, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 9.0]])
    ours, control = decide([Evidence(first, second, 0.4), Evidence(second, first, 0.0)])
    assert ours.accepted.tolist() == [True, False, False, False]
    assert ours.best.tolist() == [1, 0, 0, 1]  # of those that both accept, else of all
    assert control.accepted.tolist() == [True, True, True, False]
    assert control.best.tolist() == [2, 2, 0, 2]
    none, _ = decide([Evidence(torch.zeros(2, 3), torch.zeros(2, 3), 0.0)])
    assert not none.accepted.any()  # no gain is no improvement, even where none is needed
    none, _ = decide([Evidence(first, first, torch.inf)])
    assert not none.accepted.any()


def test_the_outcome_by_hand() -> None:
    attempts = random_attempts()
    decisions = by_score(attempts)
    found = rectification_outcome(attempts, decisions, by_brightness, None, Replicates(200))
    for side, decision, part in zip((attempts.ours, attempts.control), decisions, ("ours", "control")):
        taken = decision.accepted
        gain = (chosen(side, decision.best) - attempts.before).double().mean((1, 2, 3))
        values = {row.measure: getattr(row, part).value for row in found.rows}
        assert values["accepted"] == pytest.approx(float(taken.double().mean()))
        assert values["success"] == pytest.approx(float((gain[taken] > 0).double().mean()))
        assert values["harm"] == pytest.approx(float((gain[taken] < -0.01).double().mean()))
        assert values["mended"] == pytest.approx(float((taken & (gain > 0.01)).double().mean()))
        every = (side - attempts.before[:, None]).double().mean((2, 3, 4))
        assert values["success_without_rule"] == pytest.approx(float((every > 0).double().mean()))
        assert values["confidence_gain"] == pytest.approx(float((gain * taken).mean()), abs=1e-6)
        assert values["change_outside"] == 0
    assert found.settings["accepted"] == int(decisions[0].accepted.sum())


def test_noise_through_the_same_rule_is_no_better_than_noise() -> None:
    """Ours and the control alike: the difference's interval holds zero for about 95 % of them."""
    held = dict.fromkeys(("accepted", "success", "confidence_gain"), 0)
    for seed in range(80):
        attempts = random_attempts(seed=seed)
        decisions = by_score(attempts)
        found = rectification_outcome(attempts, decisions, by_brightness, None, Replicates(100, seed))
        for measure in held:
            difference = found.row(measure).difference
            held[measure] += difference.low <= 0 <= difference.high
    assert all(70 <= count <= 80 for count in held.values()), held


def test_an_attempt_that_really_helps_is_found_to() -> None:
    attempts = random_attempts(200)
    attempts = replace(attempts, ours=attempts.before[:, None] + 0.3 * torch.ones_like(attempts.ours))
    found = rectification_outcome(attempts, by_score(attempts), by_brightness, None, Replicates(200))
    assert found.row("success").ours.value == 1 and found.row("success").difference.low > 0
    assert "better" in found.sentence


def test_where_nothing_is_accepted_no_success_is_claimed() -> None:
    attempts = random_attempts(10)
    ours, control = by_score(attempts)
    none = Decision(ours.best, torch.zeros(10, dtype=torch.bool))
    found = rectification_outcome(attempts, (none, control), by_brightness, None, Replicates(50))
    assert "success" not in {row.measure for row in found.rows}
    after = by_brightness(chosen(attempts.control, control.best), None).measures["confidence"]
    gain = (after - by_brightness(attempts.before, None).measures["confidence"])[control.accepted]
    for measure, count, note in zip(("success", "harm"), ((gain > 0).sum(), (gain < -0.01).sum()), found.notes):
        share = wilson_interval(int(count), len(gain))
        alone = f"The control alone: {share.value:.3g} [{share.low:.3g}, {share.high:.3g}]."
        assert note == f"No {measure}: there was no trial. {alone}"
    assert len(found.notes) == 2
    assert "no share of real improvements can be given, as nothing was accepted" in found.sentence
    assert found.row("confidence_gain").ours.value == 0
    without_control = rectification_outcome(attempts, (control, none), by_brightness, None, Replicates(50))
    assert "as the control accepted nothing to compare with" in without_control.sentence
    assert all("The application alone: " in note for note in without_control.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": 1}, r"application\.candidates = 1"),
        ({"region": 0.0}, r"application\.region = 0\.0"),
        ({"margin": -0.5}, r"application\.margin = -0\.5"),
        ({"spread": -1.0}, r"application\.spread = -1\.0"),
        ({"dilate": -1}, r"application\.dilate = -1"),
        ({"rule": "witness"}, r"application\.rule = 'witness'; choose .*'witnesses'"),
        ({"noise": "new"}, r"application\.noise = 'new'; choose .*'renewed'"),
    ],
)
def test_refusals(options: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Rectification(**options)
