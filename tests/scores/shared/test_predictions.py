"""Predictions that scores share: what was not provided is refused, and the trained weights come back."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel
from genuq.scores import Probe, Resources, score_together
from genuq.scores.shared.predictions import NULL, WEAK, disagreement
from support.slow_scores import posterior_of, rows_of
from support.watched_models import CLASSES, exact_model, random_model


def probe_of(resources: Resources | None = None, classes: bool = True, model: GenerativeModel | None = None) -> Probe:
    model = random_model() if model is None else model
    return Probe(model, torch.zeros(2, *model.shape), [0, 1], 0, torch.tensor([0, 1]) if classes else None, resources)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda probe: probe.versions(probe.at([0.3])), "draws of 'draws': declare needs"),
        (lambda probe: probe.x0(*probe.at([0.3]), who=WEAK), r"score\.weak_checkpoint"),
        (lambda probe: disagreement(probe, probe.at([0.3]), 1, "other", semantic=True), "needs={'encoder'}"),
        (lambda probe: disagreement(probe, probe.at([0.3]), 3, "other"), r"score\.members = 3, but .* has 2 draws"),
    ],
)
def test_what_nobody_provided_is_refused_with_the_remedy(ask, message) -> None:
    model = random_model()
    with pytest.raises(ConfigurationError, match=message):
        ask(probe_of(Resources({"other": posterior_of("network", model)}, draws=2), model=model))


def test_a_model_without_classes_has_no_null_class() -> None:
    probe = Probe(exact_model("flow_matching", "flow"), torch.zeros(2, 3), [0, 1])
    (level,) = probe.at([0.3], noisings=2)
    assert probe.num_classes == 0 and probe.eps(level).shape == (2, 2, 3)
    with pytest.raises(ConfigurationError, match="the model knows none"):
        probe.eps(level, NULL)


def test_the_trained_weights_are_there_again_after_draws_and_after_an_exception() -> None:
    model = random_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calls = []

    def embed(images: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        if len(calls) > 2:
            raise RuntimeError
        return images.flatten(1)

    resources = Resources({"draws": posterior_of("network", model)}, draws=2, embed=embed)
    probe = Probe(model.train(), torch.zeros(2, *model.shape), [0, 1], 0, torch.tensor([0, 1]), resources)
    scores = {"pixels": partial(of_draws, semantic=False), "features": partial(of_draws, semantic=True)}
    with pytest.raises(RuntimeError):
        score_together(probe, scores)
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def of_draws(probe: Probe, semantic: bool) -> torch.Tensor:
    return disagreement(probe, probe.at([0.3], noisings=2), semantic=semantic)


def test_other_classes_are_counted_on_from_the_one_asked_for() -> None:
    probe, seen = probe_of(), []
    probe.model.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[2].tolist()))
    (level,) = probe.at([0.3], noisings=2)
    for label in (0, 1, 2, NULL):
        probe.x0(level, label)
    assert seen[::2] == [[0, 1], [1, 2], [2, 0], [CLASSES, CLASSES]]


def test_a_prediction_is_made_once() -> None:
    probe = probe_of()
    rows = rows_of(probe.model)
    for _ in range(3):
        probe.x0(*probe.at([0.3], noisings=4))
        probe.eps(*probe.at([0.3], noisings=2))
    assert sum(rows) == 4 * 2
