"""Networks that are read otherwise than they were trained: each is noticed by a fit, which names the right reading.

The networks are exact: E[target | x_t, class] of classes that are Gaussians of pixels, so that read rightly their
slope is 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from genuq.models import GenerativeModel
from genuq.posteriors import DoubtfulFitWarning, FitResult, fit
from genuq.posteriors.fitting.rereading import rereadings
from genuq.processes import Exploding, FlowMatching, Process, VariancePreserving, target_coefficients

MEANS_KD = torch.tensor([[0.6, -0.6, 0.1, 0.3], [-0.5, 0.2, 0.5, -0.6], [-0.1, 0.6, -0.7, 0.0]])
SPREAD = 0.1
FLOW, LINEAR, COSINE = FlowMatching(), VariancePreserving("linear"), VariancePreserving("cosine")
EXPLODING = Exploding(0.01, 20.0)


class Exact(nn.Module):
    """E[f | x_t, y] of images (B, 1, 2, 2) whose pixels are normal around those of their class; y = 3 is any class.

    Args:
        data: what was done to the images that it was trained on; affine.
    """

    def __init__(self, path: Process, prediction: str, data: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        super().__init__()
        self.path, self.prediction = path, prediction
        self.means_KD = data(MEANS_KD.double())
        self.variance = float(data(torch.ones(1)) - data(torch.zeros(1))) ** 2 * SPREAD**2
        self.classes = nn.Embedding(4, 1)  # says that there is a null class
        self.head = nn.Conv2d(1, 1, 1)
        nn.init.ones_(self.head.weight), nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, t_B: Tensor, y_B: Tensor) -> Tensor:
        x_BD, t_B1 = x.double().flatten(1), t_B.double()[:, None]
        alpha, sigma = self.path.shown_coefficients(t_B1)
        spread = alpha.square() * self.variance + sigma.square()
        off_BKD = x_BD[:, None] - alpha[..., None] * self.means_KD
        shares_BK = (-off_BKD.square().sum(-1) / (2 * spread)).softmax(1)
        known_BK = nn.functional.one_hot(y_B.clamp(max=2), 3).double()
        shares_BK = torch.where(y_B[:, None] == 3, shares_BK, known_BK)
        mean_BD, off_BD = shares_BK @ self.means_KD, torch.einsum("bk,bkd->bd", shares_BK, off_BKD)
        x0 = mean_BD + alpha * self.variance / spread * off_BD
        p, q = target_coefficients(self.prediction, self.path, t_B1)
        answer = p * x0 + q * sigma / spread * off_BD
        return self.head(answer.reshape(x.shape).to(x.dtype))


def fitted(
    network: nn.Module, path: Process, prediction: str, classes: Tensor | None = None, **model: object
) -> FitResult:
    """A fit with the network read so."""
    read = GenerativeModel(network, (1, 2, 2), path, prediction, num_classes=3, **model)
    labels = torch.arange(600) % 3
    noise = SPREAD * torch.randn(600, 4, generator=torch.Generator().manual_seed(0))
    images = (MEANS_KD[labels] + noise).clamp(-1, 1).reshape(-1, 1, 2, 2)
    given = labels if classes is None else classes[labels]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtfulFitWarning)
        return fit(read, images, labels=given, images=8, held_out=500)


@pytest.mark.parametrize(
    ("path", "prediction"),
    [(FLOW, "flow"), (FLOW, "minus_flow"), (LINEAR, "epsilon"), (LINEAR, "v_prediction"), (COSINE, "sample")],
)
def test_right_readings_are_not_doubted(path: Process, prediction: str) -> None:
    found = fitted(Exact(path, prediction), path, prediction)
    assert found.doubts == () and found.reading.distance < 0.1


def test_networks_of_edm_are_judged_as_others() -> None:
    def call(network: nn.Module, x: Tensor, told_B: Tensor, y_B: Tensor) -> Tensor:
        return network(x, EXPLODING.time_of(told_B), y_B)

    right = fitted(Exact(EXPLODING, "edm"), EXPLODING, "edm", call=call)
    assert right.doubts == ()
    (doubt,) = fitted(Exact(EXPLODING, "edm"), EXPLODING, "sample", call=call).doubts
    assert "Read otherwise they fit: prediction = edm" in doubt


WRONG: dict[str, tuple[Callable[[], FitResult], str | None]] = {
    "prediction": (lambda: fitted(Exact(LINEAR, "epsilon"), LINEAR, "v_prediction"), "prediction = epsilon"),
    "sign": (lambda: fitted(Exact(FLOW, "flow"), FLOW, "minus_flow"), "prediction = flow"),
    "process": (
        lambda: fitted(Exact(FLOW, "flow"), LINEAR, "epsilon"),
        "process = flow_matching and prediction = flow",
    ),
    "schedule": (
        lambda: fitted(Exact(COSINE, "epsilon"), LINEAR, "epsilon"),
        "process = variance_preserving with schedule = cosine and prediction = epsilon",
    ),
    "range [0, 1]": (
        lambda: fitted(Exact(FLOW, "flow", lambda x: (x + 1) / 2), FLOW, "flow"),
        "images in [0, 1] in place of [-1, 1]",
    ),
    "range 2 x - 1": (
        lambda: fitted(Exact(FLOW, "flow", lambda x: 2 * x - 1), FLOW, "flow"),
        "images twice as wide less 1, as where those given lie in [0, 1]",
    ),
    "negative": (
        lambda: fitted(Exact(LINEAR, "epsilon", lambda x: -x), LINEAR, "epsilon"),
        "images with black and white exchanged",
    ),
    "time reversed": (
        lambda: fitted(Exact(FLOW, "flow"), FLOW, "flow", call=lambda net, x, t, y: net(x, 1 - t, y)),
        "time from noise to data, 1 - t",
    ),
    "time in steps": (
        lambda: fitted(Exact(FLOW, "flow"), FLOW, "flow", call=lambda net, x, t, y: net(x, t / 1000, y)),
        "the network told 1000 t of the time t that it is now",
    ),
    "classes from 1": (
        lambda: fitted(Exact(FLOW, "flow"), FLOW, "flow", torch.tensor([2, 0, 1])),
        "classes counted from 1",
    ),
    "classes permuted": (
        lambda: fitted(Exact(FLOW, "flow"), FLOW, "flow", torch.tensor([1, 0, 2])),
        "the null class in place of the labels, so that these are others",
    ),
    "other data": (lambda: fitted(Exact(FLOW, "flow", lambda x: 0.7 * x + 0.1), FLOW, "flow"), None),
}


@pytest.mark.parametrize("way", WRONG)
def test_wrong_readings_are_noticed_and_the_right_one_is_named(way: str) -> None:
    make, right = WRONG[way]
    (doubt,) = make().doubts
    assert "do not fit what it is read to predict" in doubt
    assert (f"Read otherwise they fit: {right}" if right else "None of the other usual readings") in doubt


def test_a_fit_warns_of_it_by_a_class_of_its_own() -> None:
    model = GenerativeModel(Exact(FLOW, "flow"), (1, 2, 2), FLOW, "minus_flow", num_classes=3)
    with pytest.warns(DoubtfulFitWarning, match=r"until then the fit, and what is drawn from it, means little"):
        fit(model, torch.rand(64, 1, 2, 2) - 0.5, labels=[0, 1] * 32, images=8, held_out=32)


def test_what_the_network_cannot_be_asked_is_left_out() -> None:
    """No null class without a table for it, no ranges of points, no larger times than the table of published steps."""

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(2, 2)
            nn.init.eye_(self.head.weight), nn.init.zeros_(self.head.bias)

        def forward(self, x: Tensor, t_B: Tensor, y_B: Tensor) -> Tensor:
            if bool((t_B > 1).any()):
                raise IndexError("no such time")
            return self.head(x)

    model = GenerativeModel(Plain(), (2,), FLOW, "flow", num_classes=3)
    words = [words for each in rereadings(model) for _, words in each.meanings]
    assert not any("null class" in each or "images" in each for each in words)
    data = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    with pytest.warns(DoubtfulFitWarning, match="None of the other usual readings"):
        fit(model, data, labels=[0, 1, 2, 0] * 16, images=8, held_out=40)
