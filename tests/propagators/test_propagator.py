"""What every propagator refuses, and weight draws of the head as deviations of its matrix."""

from __future__ import annotations

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.posteriors import MAP, IsotropicNoise, Scale
from genuq.propagators.propagator import (
    head_deviation,
    moves_head_alone,
    require_closed_form,
)
from support.posterior_oracles import tiny_model


def noise(model):
    return IsotropicNoise(model.head)


def test_a_deviation_is_the_draw_less_the_trained_weights():
    model = tiny_model()
    posterior = noise(model).finalise(Scale(1.0, 1.0, prior_precision=100.0))
    weights = {name: value.detach().double() for name, value in model.head.named_parameters()}
    drawn = posterior.draw(3, seed=5)
    found = head_deviation(model, posterior, 3, 5)
    wanted = (drawn["weight"].double() - weights["weight"]).flatten(1)
    assert torch.equal(found[:, : wanted.shape[1]], wanted)
    assert torch.equal(found[:, wanted.shape[1]], drawn["bias"].double() - weights["bias"])
    assert found.dtype == torch.float64 and found.any()


def test_only_a_posterior_of_this_models_head_moves_it_alone():
    model, other = tiny_model(), tiny_model()
    assert moves_head_alone(model, noise(model))
    assert not moves_head_alone(model, noise(other)) and not moves_head_alone(model, MAP(model.network))


def test_what_has_no_closed_form_here_is_refused_with_what_has():
    model, other = tiny_model(), tiny_model()
    final = noise(model).finalise(Scale(1.0, 1.0, 1.0))
    require_closed_form("corrected", model, final)
    for posterior, said in (
        (MAP(model.network).finalise(Scale(1.0, 1.0, 1.0)), "posterior 'map' does not have.*propagator=coherent"),
        (noise(other).finalise(Scale(1.0, 1.0, 1.0)), r"another layer than model\.head = 'head'"),
        (noise(model), "scale|finalise"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            require_closed_form("corrected", model, posterior)
