"""Rectification of a run: which samples failed, and which of its settings a rule reads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from genuq.applications.rectify_run import RectifySettings, facts_of, failed_samples
from genuq.errors import ConfigurationError


def test_the_failed_are_those_that_score_or_witnesses_doubt_most() -> None:
    known: Any = SimpleNamespace(score=torch.tensor([0.1, 0.9, 0.5, 0.7]))
    panel: Any = SimpleNamespace(doubt=torch.tensor([4.0, 1.0, 3.0, 2.0]))
    assert failed_samples(known, RectifySettings(failed=0.5, failed_by="score"), panel) == [1, 3]
    assert failed_samples(known, RectifySettings(failed=0.5), panel) == [0, 2]
    assert failed_samples(known, RectifySettings(failed=0.01), panel) == [0]  # at least one


def test_what_a_rule_does_not_read_is_as_if_it_were_not_set() -> None:
    by_score = RectifySettings(rule="score", failed_by="score", rise=2.0, sure=0.9, witness_images=7, margin=0.25)
    assert by_score.as_read == RectifySettings(rule="score", failed_by="score", margin=0.25)
    assert not by_score.asks_witnesses
    given = RectifySettings(rule="witnesses", rise=2.0, sure=0.9, margin=0.25, witness_images=7)
    assert given.as_read == RectifySettings(rule="witnesses", rise=2.0, witness_images=7)


@pytest.mark.parametrize("failed", [0.0, 1.5])
def test_a_share_that_cannot_be_is_refused(failed: float) -> None:
    with pytest.raises(ConfigurationError, match=rf"application\.failed = {failed}"):
        RectifySettings(failed=failed)


def test_facts_are_of_the_panel_and_of_its_verdict() -> None:
    panel: Any = SimpleNamespace(facts={"witnesses": 2})
    verdict: Any = SimpleNamespace(facts={"rise": 1.5}, notes=["calibrated"])
    assert facts_of(None, None) == ({}, []) and facts_of(panel, None) == ({"witnesses": 2}, [])
    assert facts_of(panel, verdict) == ({"witnesses": 2, "rise": 1.5}, ["calibrated"])
