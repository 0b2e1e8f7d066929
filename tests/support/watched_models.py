"""Models that the tests of the baselines sample: an exact Gaussian one, and random networks of every kind."""

from __future__ import annotations

import torch
from torch import nn

from genuq.models import Autoencoder, GenerativeModel
from genuq.networks import MLP, UNet
from support.gaussian_toy import PATHS, affine_prediction

SHAPE, CLASSES = (1, 8, 8), 3


class ExactNetwork(nn.Module):
    """The exact prediction for the toy's Gaussian data; its only weights are never used."""

    def __init__(self, path: str, prediction: str) -> None:
        super().__init__()
        self.path, self.prediction, self.unused = PATHS[path], prediction, nn.Linear(1, 1)

    def forward(self, x, t, y=None):
        slope, intercept = affine_prediction(self.path, self.prediction, float(t[0]))
        return (slope * x + intercept).to(x)


def exact_model(path: str, prediction: str) -> GenerativeModel:
    return GenerativeModel(ExactNetwork(path, prediction), (3,), PATHS[path], prediction)


class Halving(Autoencoder):
    """Latents are every second pixel, doubled."""

    def latent_shape(self, image_shape):
        return (image_shape[0], image_shape[1] // 2, image_shape[2] // 2)

    def encode(self, images):
        return 2 * images[..., ::2, ::2]

    def decode(self, latents):
        return latents.repeat_interleave(2, -1).repeat_interleave(2, -2) / 2


def random_model(kind: str = "pixels", process: str = "flow_matching", prediction: str = "flow") -> GenerativeModel:
    """Random weights everywhere, so that no zero-initialised head hides a difference."""
    torch.manual_seed(0)
    if kind == "points":
        network, shape, autoencoder = MLP((2,), width=16, depth=1, num_classes=CLASSES), (2,), None
    else:
        network = UNet(SHAPE, channels=(8, 16), num_classes=CLASSES)
        shape, autoencoder = (SHAPE, None) if kind == "pixels" else ((1, 16, 16), Halving())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return GenerativeModel(network, shape, process, prediction, CLASSES, autoencoder)


def double_model(kind: str = "pixels", process: str = "flow_matching", prediction: str = "flow") -> GenerativeModel:
    """The same in float64, also where it is asked about a float32 state: a sampler starts in float32."""
    made = random_model(kind, process, prediction)

    def call(network, x, t, y):
        return network(x.double(), t.double(), y)

    return GenerativeModel(
        made.network.double(), made.shape, process, prediction, CLASSES, made.autoencoder, call=call
    ).eval()
