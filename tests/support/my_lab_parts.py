"""Parts of a user's own, one for each group, as a package outside genuq would have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genuq.analysis import MetricPart
from genuq.applications import ApplicationPart, FinishedRun, Made, Outcome
from genuq.data import ArrayDataset
from genuq.extractors import Extractor
from genuq.likelihoods import SemanticLikelihood
from genuq.likelihoods.points import PointLikelihood
from genuq.models import GenerativeModel, StageRecord
from genuq.posteriors import ExactLastLayerLaplace
from genuq.processes import FlowMatching
from genuq.propagators import Trajectory
from genuq.scores import ScorePart, Watcher
from genuq.solvers import Euler


class Narrow(ExactLastLayerLaplace):
    """A posterior of one's own."""

    kind = "narrow"

    def __init__(self, layer: nn.Module, active: Tensor | None = None, rank: int = 8) -> None:
        super().__init__(layer, active)
        self.rank = rank

    def options(self) -> dict[str, int]:
        return {"rank": self.rank}


class OneLayer(nn.Module):
    """A network of one's own, without classes."""

    def __init__(self, shape: Sequence[int], width: int = 4) -> None:
        super().__init__()
        self.width = width
        self.head = nn.Linear(shape[0], shape[0])

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return self.head(x)


def own_model(width: int = 4) -> GenerativeModel:
    """A whole model of one's own."""
    return GenerativeModel(OneLayer((2,), width), (2,), call=lambda network, x, t, y: network(x, t))


def two_dots(split: str, size: int = 6) -> ArrayDataset:
    """Two dots in the plane."""
    return ArrayDataset(torch.eye(2).repeat(size // 2, 1), torch.arange(size) % 2, ["a", "b"], "two_dots", split)


class OtherEuler(Euler):
    """A solver of one's own."""

    name = "other_euler"


class OtherFlow(FlowMatching):
    """A process of one's own."""

    name = "other_flow"


class OtherTrajectory(Trajectory):
    """A propagator of one's own."""

    name = "other_trajectory"


class Brightness(Extractor):
    """The mean of an image as its only feature."""

    def __init__(self, image_shape: Sequence[int], factor: float = 2.0) -> None:
        super().__init__(f"brightness-{factor:g}", 1)
        self.factor = factor

    def embed(self, images_BCHW: Tensor) -> Tensor:
        return self.factor * images_BCHW.mean((1, 2, 3))[:, None]


class Sharp(SemanticLikelihood):
    """A likelihood of one's own."""

    kind = "sharp"


class Scaled(PointLikelihood):
    """Points a few times as far from each other; the variance of its observations is no option of it."""

    name = "scaled"

    def __init__(self, shape: Sequence[int], factor: float = 2.0) -> None:
        super().__init__(shape[0])
        self.factor = factor

    def embed(self, points: Tensor, progress: Any = None, **_: Any) -> Tensor:
        return self.factor * super().embed(points, progress)


def spread(embeddings_NMD: Tensor, observation_variance: float, power: float = 2.0) -> Tensor:
    """Mean absolute deviation over the draws, to a power."""
    return (embeddings_NMD - embeddings_NMD.mean(1, keepdim=True)).abs().mean((1, 2)) ** power


class LastNorm(Watcher):
    """Norm of the finished sample."""

    def __call__(self, record: StageRecord) -> None:
        self.last = record.result

    def score(self) -> Tensor:
        return self.last.flatten(1).norm(dim=1).double()


def darkness(images: Tensor) -> Tensor:
    return -images.double().flatten(1).mean(1)


DARKNESS = ScorePart(name="darkness", target=darkness, kind="control", source="image", label="Darkness")


class Shift:
    """Distance of the means."""

    def __init__(self, fake_ND: Tensor, real_RD: Tensor) -> None:
        self.fake_ND, self.mean_D = fake_ND.double(), real_RD.double().mean(0)

    def __call__(self, members: Sequence[int]) -> dict[str, float]:
        return {"shift": float((self.fake_ND[members].mean(0) - self.mean_D).norm())}


SHIFT = MetricPart(name="shift", target=Shift, lower_is_better=True, bounds=(0.0, float("inf")))


@dataclass(frozen=True)
class CountSettings:
    least: int = 1


def run_count(known: FinishedRun, how: CountSettings) -> Made:
    index = torch.arange(how.least)
    return Outcome("count", "nothing", {"least": how.least}, [], f"{len(known.score)} samples."), {"index": index}


COUNT = ApplicationPart(name="count", target=run_count, settings=CountSettings, control="nothing")
