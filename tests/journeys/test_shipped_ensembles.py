"""The ensembles that ship with genuq: sound networks, each another, around the shipped checkpoint."""

from __future__ import annotations

import pytest
import torch

import genuq
from genuq.data import fashion_mnist
from genuq.posteriors import MembersPosterior, swapped
from genuq.training.ensembles import fit_members, residual_variance
from genuq.training.member_settings import MemberSettings

NAME = "flow_matching_fashion_mnist"


@pytest.fixture(scope="module", params=["deep_ensemble", "posthoc_ensemble"])
def ensemble(request: pytest.FixtureRequest) -> tuple[genuq.GenerativeModel, MembersPosterior]:
    model = genuq.load_reference("flow_matching")
    settings = MemberSettings(request.param, checkpoints="reference", observation_noise=1.0)
    return model, fit_members(settings, model, fashion_mnist("train"), reference=NAME)


def test_there_are_five_and_each_is_another(ensemble: tuple[genuq.GenerativeModel, MembersPosterior]) -> None:
    _, posterior = ensemble
    assert posterior.n_seen == 5
    heads = torch.stack([posterior.draw(k)["head.weight"].flatten() for k in range(5)])
    assert (torch.corrcoef(heads - heads.mean(0)).triu(1).abs() < 0.5).all()


def test_every_member_predicts_about_as_well_as_the_checkpoint(
    ensemble: tuple[genuq.GenerativeModel, MembersPosterior],
) -> None:
    model, posterior = ensemble
    test_set = fashion_mnist("test")
    trained = residual_variance(model, test_set, seed=0, images=256)
    for k in range(5):
        with swapped(posterior.module, posterior.draw(k)):
            assert residual_variance(model, test_set, seed=0, images=256) < 1.1 * trained
