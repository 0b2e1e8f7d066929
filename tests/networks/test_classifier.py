"""The classifier that judges: its features and its logits."""

from __future__ import annotations

import torch

from genuq.networks import Classifier
from support.stirred import stirred


class TestClassifier:
    def test_logits_are_linear_in_the_features(self):
        network, x = stirred(Classifier((1, 12, 12), 5, channels=(4, 4, 8), features=6)), torch.randn(3, 1, 12, 12)
        features = network.features(x)
        assert features.shape == (3, 6)
        torch.testing.assert_close(network(x), features @ network.logits.weight.T + network.logits.bias)

    def test_dropout_leaves_the_features_alone(self):
        network, x = Classifier((1, 8, 8), 2, channels=(4, 4, 4), dropout=0.9), torch.randn(4, 1, 8, 8)
        network.train()
        network.trunk.eval()
        assert torch.equal(network.features(x), network.features(x))
        assert not torch.equal(network(x), network(x))
