"""New samples for scores: those of the sampler, with what a recorder or a probe of them predicts."""

from __future__ import annotations

import pytest
import torch

from genuq.models import Sampler, sample
from genuq.scores import SCORES, Probe, lid, path_disagreement, watch
from genuq.scores.settings import smaller_settings
from genuq.scores.shared import MAIN, Resources, fresh, score_together
from support.slow_scores import posterior_of
from support.watched_models import random_model


def test_samples_and_scores_are_those_of_the_library() -> None:
    model, sampler, indices = random_model().eval(), Sampler(steps=4, seed=5), [3, 4, 9]
    resources = Resources({MAIN: posterior_of("network", model)}, 2, seed=5)
    on_path, probed = (fresh(model, sampler, indices, source, resources) for source in ("path", "probe"))
    plain = sample(model, sampler, indices)
    assert torch.equal(on_path.samples, plain) and torch.equal(probed.samples, plain)
    watched = watch(model, sampler, indices, {}, path_scores={"one": path_disagreement}, resources=resources)
    found = score_together(on_path.predictions, {"one": path_disagreement})
    assert torch.equal(found.values["one"], watched.scores["one"])
    probe = Probe(model, plain, indices, 5, sampler.classes_of(model, indices), resources)
    found, other = (score_together(one, {"lid": lid}) for one in (probed.predictions, probe))
    assert torch.equal(found.values["lid"], other.values["lid"])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("path_disagreement", {"points": [0.3, 0.7, 1.0]}),
        ("guidance_gap", {"points": [0.2, 0.6]}),
        ("renoised_disagreement", {"times": [0.3, 0.5], "noisings": 4}),
        ("renoised_epistemic", {"times": [0.3], "pairs": 3}),
    ],
)
def test_a_score_is_the_same_alone_and_beside_all_its_parts(name: str, options: dict) -> None:
    """Bit for bit, and each is charged what it evaluates alone; all together take no more than the full one."""
    model, sampler, part = random_model().eval(), Sampler(steps=5), SCORES.get(name)
    resources = Resources({MAIN: posterior_of("network", model)}, 3)
    settings = smaller_settings(part, options, 3)

    def predictions():
        return fresh(model, sampler, [0, 1, 5], part.source, resources).predictions

    def score(setting):
        return lambda given: part.values(3, given, **setting)

    together = score_together(predictions(), {str(n): score(one) for n, one in enumerate(settings)})
    for number in {0, len(settings) // 2, len(settings) - 1}:
        alone = score_together(predictions(), {"alone": score(settings[number])})
        assert torch.equal(together.values[str(number)], alone.values["alone"])
        assert together.costs[str(number)].evaluations == alone.evaluations
    assert together.evaluations == together.costs[str(len(settings) - 1)].evaluations
    whole = score_together(predictions(), {"all": score(options)})
    assert torch.equal(whole.values["all"], together.values[str(len(settings) - 1)])
