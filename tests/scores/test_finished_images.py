"""Finished images against the formulas read one noising at a time in float64, and against a run's own probe."""

from __future__ import annotations

import math

import pytest
import torch

import genuq
from genuq.data import as_dataset
from genuq.errors import ConfigurationError, DataError
from genuq.models import GenerativeModel, Sampler, sample, to_bytes
from genuq.models.sampling import to_unit
from genuq.scores import SCORES, ImageScores, Probe, Resources, score_images, score_together
from genuq.scores.finished_images import content_digests, default_scores, noise_key
from support.slow_scores import SlowProbe, drawn, posterior_of
from support.watched_models import CLASSES, double_model, random_model

SEED, DRAWS, COUNT = 5, 3, 3
CHOSEN = {
    "renoised_disagreement": {"times": (0.3, 0.1), "noisings": 2},
    "lid": {"times": (0.1,)},
    "self_confidence": {"noisings": 2},
    "class_margin": {"noisings": 2},
    "renoised_isotropic": {"noisings": 2},
    "null_gap": {},
}
LABELS = [0, 1, 2]


class Likelihood:
    """Features of pixels, as a likelihood makes them of images in [0, 1]."""

    def embed(self, images, device=None):
        return images.flatten(1)[:, ::5]


def pictures(model: GenerativeModel, count: int = COUNT) -> torch.Tensor:
    """uint8 images that nobody knows the noise of."""
    return to_bytes(torch.rand(count, *model.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1)


def scored(model: GenerativeModel, images, labels=None, labelled: bool = False, **options) -> ImageScores:
    labels = LABELS[: len(images)] if labels is None and not labelled else labels
    options = {"scores": CHOSEN, "seed": SEED, "draws": DRAWS} | options
    return score_images(model, posterior_of("network", model), images, labels, **options)


@pytest.mark.parametrize("kind", ["pixels", "latents"])
def test_each_score_is_its_formula_with_the_noise_of_the_pixels(kind: str) -> None:
    model = double_model(kind, "variance_preserving", "v_prediction")
    images = pictures(model)
    found = scored(model, images)
    members = drawn(model, posterior_of("network", model), DRAWS, SEED)
    signed = images.float() * 2 / 255 - 1
    keys = [noise_key(digest) for digest in content_digests(signed)]
    for row in range(COUNT):
        slow = SlowProbe(model, signed[row], keys[row], SEED)
        slow.label = LABELS[row]
        wanted = {
            "renoised_disagreement": (slow.disagreement(0.3, 2, members) + slow.disagreement(0.1, 2, members)) / 2,
            "lid": slow.loss(0.1, 4),
            "self_confidence": math.log(slow.loss(0.5, 2)),
            "class_margin": slow.margin(0.5, 2),
            "null_gap": slow.null_gap(0.3, 4),
        }
        for name, value in wanted.items():
            assert float(found.scores[name][row]) == pytest.approx(value, rel=1e-4)


def test_with_the_indices_of_a_runs_samples_it_is_the_runs_probe() -> None:
    model = random_model()
    samples, posterior = sample(model, Sampler(steps=3, seed=SEED), range(COUNT)), posterior_of("network", model)
    classes = torch.tensor(LABELS)
    probe = Probe(model, samples, range(COUNT), SEED, classes, Resources({"draws": posterior}, DRAWS, SEED))
    wanted = score_together(probe, {"lid": SCORES.get("lid").make, "margin": SCORES.get("class_margin").make})
    found = scored(model, samples, scores=["lid", "class_margin"], keys=range(COUNT))
    assert torch.equal(found.scores["lid"], wanted.values["lid"])
    assert torch.equal(found.scores["class_margin"], wanted.values["margin"])
    assert found.costs == {name: cost.evaluations / COUNT for name, cost in zip(found.costs, wanted.costs.values())}
    assert found.evaluations == wanted.evaluations / COUNT


def test_an_image_has_one_score_wherever_it_stands() -> None:
    model = random_model()
    images, done = pictures(model, 7), []
    labels = [n % CLASSES for n in range(7)]
    whole = scored(model, images, labels, batch_size=3, progress=done.append)
    alone = scored(model, images[[5]], [labels[5]])
    as_floats = scored(model, images.flip(0).float() * 2 / 255 - 1, labels[::-1])
    data_set = scored(model, as_dataset(images, labels, num_classes=CLASSES), labelled=True, batch_size=7)
    assert done == [3, 3, 1]
    for name, values in whole.scores.items():
        torch.testing.assert_close(values[[5]], alone.scores[name], rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(values.flip(0), as_floats.scores[name], rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(values, data_set.scores[name], rtol=1e-4, atol=1e-7)
    other = scored(model, images, labels, seed=SEED + 1)
    assert not torch.allclose(other.scores["lid"], whole.scores["lid"], rtol=1e-3)


def test_digests_tell_pixels_apart_and_nothing_less() -> None:
    images = torch.linspace(-1, 1, 2 * 16).reshape(2, 1, 4, 4)
    first, second = content_digests(images)
    assert first != second and content_digests(images.flip(0)) == [second, first]
    assert content_digests(images + 1e-4) == [first, second]  # less than a grey level
    assert content_digests(images.reshape(2, 1, 2, 8))[0] != first
    points = torch.tensor([[0.5, 1.0], [0.5, 1.0 + 1e-6]])
    assert len(set(content_digests(points))) == 2
    assert 0 <= noise_key(first) < 2**63


def test_what_nobody_named_is_what_can_be_had() -> None:
    model = random_model()
    assert default_scores(model, True) == ["renoised_disagreement", "lid", "self_confidence", "class_margin"]
    found = genuq.score_images(model, None, pictures(model), LABELS)
    assert list(found.scores) == ["lid", "self_confidence", "class_margin"]
    points = random_model("points")
    assert list(score_images(points, None, torch.randn(3, 2), LABELS, "lid").scores) == ["lid"]


def test_semantic_scores_look_in_the_likelihoods_features() -> None:
    model = random_model()
    posterior, images = posterior_of("network", model), pictures(model)
    given = {"renoised_disagreement_semantic": {"noisings": 2}}
    found = score_images(model, posterior, images, LABELS, given, SEED, draws=2, likelihood=Likelihood())
    signed = images.float() * 2 / 255 - 1
    keys = [noise_key(digest) for digest in content_digests(signed)]
    resources = Resources({"draws": posterior}, 2, SEED, embed=lambda x: to_unit(x).flatten(1)[:, ::5])
    probe = Probe(model, signed, keys, SEED, torch.tensor(LABELS), resources)
    part = SCORES.get("renoised_disagreement_semantic")
    wanted = score_together(probe, {"it": lambda one: part.make(one, noisings=2)}).values["it"]
    torch.testing.assert_close(found.scores[part.name], wanted)


def test_what_cannot_be_is_refused_by_name() -> None:
    model, images = random_model(), pictures(random_model())
    posterior = posterior_of("network", model)
    asked = {
        "'renoised_disagreement' asks for weight draws: give a posterior": {"scores": ["renoised_disagreement"]},
        "'entropy' is of no finished image": {"scores": ["entropy"]},
        "Did you mean 'lid'": {"scores": ["lidd"]},
        "scores: none given": {"scores": []},
        "3 images": {"scores": ["lid"], "keys": [1]},
    }
    for words, options in asked.items():
        with pytest.raises(ConfigurationError, match=words.split(":")[0]):
            score_images(model, None, images, LABELS, **options)
    for words, name, draws in (("likelihood", "renoised_disagreement_semantic", 3), ("2", "renoised_epistemic", 1)):
        with pytest.raises(ConfigurationError, match=words):
            score_images(model, posterior, images, LABELS, [name], draws=draws)
    with pytest.raises(DataError, match="give labels"):
        score_images(model, None, images)
    with pytest.raises(DataError, match=r"\[-1, 1\]"):
        score_images(model, None, images.float(), LABELS)
    with pytest.raises(ConfigurationError, match="shape"):
        score_images(model, None, images[..., :4], LABELS)


@pytest.mark.parametrize("family", ["stable_diffusion", "flux"])
def test_of_a_pipeline_the_margin_is_between_prompts(family: str) -> None:
    """Between two prompts it is what it is for the other one, with the other sign; an image's noise has no prompt."""
    pytest.importorskip("diffusers")
    from support.pretrained_cases import opened

    model, _ = opened(family)
    images = pictures(model, 2)
    one, other = (
        score_images(model, None, images, [label] * 2, ["class_margin"]).scores["class_margin"] for label in (0, 1)
    )
    torch.testing.assert_close(one, -other, rtol=1e-4, atol=1e-7)
    assert one.abs().min() > 1e-4
    signed = images.float() * 2 / 255 - 1
    keys = [noise_key(digest) for digest in content_digests(signed)]
    losses = []
    for label in (0, 1):
        probe = Probe(model, signed, keys, 0, torch.tensor([label] * 2))
        losses.append(score_together(probe, {"loss": lambda one: one.residual(one.at([0.5], 4)[0])}).values["loss"])
    torch.testing.assert_close(one, losses[0] - losses[1], rtol=1e-3, atol=1e-7)
