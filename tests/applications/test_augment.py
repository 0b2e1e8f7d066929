"""Augmentation in the exact Gaussian case: what the new samples are, and what is measured of them."""

from __future__ import annotations

import itertools

import pytest
import torch

from genuq.applications import Augmentation, Augmented, Replicates, augment, augmentation_outcome, drawn_states
from genuq.applications.augment import changes, diversity
from genuq.errors import ConfigurationError
from support.application_cases import MODEL, POSTERIOR, SAMPLER, TIME, by_brightness, cut, finished_by_hand, generator

HOW = Augmentation(candidates=3, spread=4.0)


def test_candidates_are_drawn_states_finished() -> None:
    found, at = augment(MODEL, POSTERIOR, SAMPLER, range(5), HOW), cut(5)
    assert torch.equal(found.before, at.images)
    for k in range(3):
        state = drawn_states(at, k, spread=4.0)
        expected = finished_by_hand(state, TIME, 8).clamp(-1, 1).float()
        torch.testing.assert_close(found.ours[:, k], expected, rtol=0, atol=1e-5)
    assert found.moved == pytest.approx(
        4 * (at.variance.sum((1, 2, 3)) / at.state.square().sum((1, 2, 3))).sqrt(), rel=0.3
    )


def test_a_candidate_does_not_depend_on_the_batch() -> None:
    whole, alone = (augment(MODEL, POSTERIOR, SAMPLER, chosen, HOW) for chosen in (range(5), [3]))
    for name in ("before", "ours", "control", "moved"):
        torch.testing.assert_close(getattr(alone, name)[0], getattr(whole, name)[3], rtol=1e-4, atol=1e-6)


def test_measures_by_brute_force() -> None:
    images = torch.rand(4, 3, 1, 2, 2, generator=generator())
    before, features = torch.rand(4, 1, 2, 2, generator=generator(1)), images.flatten(2)
    pairs = list(itertools.combinations(range(3), 2))
    by_hand = [sum(float((f[i] - f[j]).norm()) for i, j in pairs) / 3 for f in features]
    assert diversity(features.flatten(0, 1), 3).tolist() == pytest.approx(by_hand, rel=1e-6)
    region = torch.zeros(4, 1, 2, 2, dtype=torch.bool)
    region[:, :, 0] = True
    inside = (images - before[:, None])[..., 0, :].double().square().mean((2, 3)).sqrt()
    torch.testing.assert_close(changes(images, before, region), inside, rtol=1e-6, atol=0)
    torch.testing.assert_close(changes(images, before, ~region & region), torch.zeros(4, 3, dtype=torch.float64))


def test_the_outcome_pairs_samples_with_their_control() -> None:
    source = generator()
    before = torch.randn(40, 1, 2, 2, generator=source)
    ours = before[:, None] + 0.2 + 0.1 * torch.randn(40, 3, 1, 2, 2, generator=source)
    control = before[:, None] + 0.1 * torch.randn(40, 3, 1, 2, 2, generator=source)
    made = Augmented(torch.arange(40), before, ours, control, torch.ones(40))
    found = augmentation_outcome(made, by_brightness, None, Replicates(200))
    row = found.row("confidence")
    assert row.ours.value == pytest.approx(float(ours.mean())) and row.control.value == pytest.approx(
        float(control.mean())
    )
    assert row.difference.low > 0.15 and row.difference.high < 0.25 and row.n == 40
    assert found.row("distance").difference.low > 0
    diverse = found.row("diversity").difference
    assert diverse.low < 0 < diverse.high
    assert "better" in found.sentence and found.settings["relative_move"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [({"candidates": 1}, r"application\.candidates = 1"), ({"spread": 0.0}, r"application\.spread = 0\.0")],
)
def test_refusals(options: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Augmentation(**options)
