"""Who judges: a classifier by its penultimate features and its confidence, an extractor, the truth about points."""

from __future__ import annotations

from pathlib import Path

import torch

from genuq.data import gaussian_mixture, off_mode
from genuq.extractors import FromCallable
from genuq.extractors.judge import classifier_judge, extractor_judge, points_judge
from genuq.models.checkpoints import save_classifier
from genuq.networks import Classifier


def test_a_classifier_judges_by_the_features_before_its_logits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = {"shape": (1, 8, 8), "num_classes": 3}
    classifier = Classifier(**options).eval()
    save_classifier(tmp_path / "mine.safetensors", classifier, options, 0.75)
    judge = classifier_judge(tmp_path / "mine.safetensors")
    images = torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8)
    features = judge.embed(images)
    assert (judge.name, judge.dimension, judge.real_test_accuracy) == ("mine", features.shape[1], 0.75)
    assert judge.truth is None and judge.probabilities is not None
    with torch.no_grad():
        expected = classifier(2 * (images.float() / 255) - 1).softmax(1)
    torch.testing.assert_close(judge.probabilities(features), expected, rtol=0, atol=2e-3)  # weights as float16


def test_an_extractor_knows_neither_classes_nor_truth() -> None:
    judge = extractor_judge(FromCallable(lambda images: images.mean((2, 3)), "means", 3))
    assert (judge.name, judge.dimension, judge.probabilities, judge.truth) == ("means", 3, None, None)
    images = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(judge.embed(images), images.mean((2, 3)))


def test_points_are_judged_by_their_coordinates_and_by_the_modes() -> None:
    mixture = gaussian_mixture(8, 10)
    judge = points_judge(mixture)
    points = torch.cat([mixture.centres.float(), torch.zeros(1, 2)])
    assert judge.dimension == 2 and torch.equal(judge.embed(points), points)
    assert judge.truth is not None and judge.truth(points).tolist() == [False] * 8 + [True]
    assert torch.equal(judge.truth(points), off_mode(points, mixture))
