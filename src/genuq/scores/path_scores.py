"""Scores of the sampler's one path: whether weight draws, the null class or a weaker network would have gone elsewhere.

Functions of a `genuq.scores.shared.SamplerPath`. A point is a fraction of the path: 0 is the first step, 1 the last.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genuq.parts.bounds import Count, Points
from genuq.scores.registry import SCORES
from genuq.scores.shared.path import SamplerPath
from genuq.scores.shared.predictions import NULL, WEAK, disagreement


@SCORES.add(
    label="Path disagreement",
    source="path",
    needs=frozenset({"members"}),
    keys={"points": "path_points"},
)
def path_disagreement(path: SamplerPath, points: Points = (1.0,), members: Count | None = None) -> Tensor:
    """Variance of x0_hat over the weights at points of the one path, summed over dimensions; mean over the points.

    Biased variance over the trained weights and M draws, in the space of the process. M evaluations a point.

    Args:
        points: of the path, 0 for its first step to 1 for its last.
        members: M draws of the weights; None: all of the posterior's.
    Source: of its form in pixels, arXiv 2606.13451.
    """
    return disagreement(path, path.at(points), members)


@SCORES.add(
    label="Semantic path disagreement",
    source="path",
    needs=frozenset({"members", "encoder"}),
    keys={"points": "path_points"},
)
def path_disagreement_semantic(path: SamplerPath, points: Points = (1.0,), members: Count | None = None) -> Tensor:
    """`path_disagreement` in the likelihood's space, to which x0_hat is decoded and embedded.

    Args:
        points: of the path, 0 for its first step to 1 for its last.
        members: M draws of the weights; None: all of the posterior's.
    """
    return disagreement(path, path.at(points), members, semantic=True)


@SCORES.add(
    label="Guidance gap",
    kind="baseline",
    source="path",
    needs=frozenset({"classes", "null"}),
    keys={"points": "gap_points"},
)
def guidance_gap(path: SamplerPath, points: Points = (0.4, 0.6)) -> Tensor:
    """How far the class asked for moves the prediction away from that of the null class, summed over points.

    The squared distance of the two eps_hat, mean over dimensions: that of the two x0_hat in units of the noise level.
    An evaluation a point, and none where the sampler guides.

    Args:
        points: of the path, 0 for its first step to 1 for its last.
    Source: CFG-Rejection, arXiv 2505.23343. Which tail is bad differs; see `guidance_gap_low`.
    """
    gaps = [path.eps(step) - path.eps(step, NULL) for step in path.at(points)]
    return torch.stack([gap.square().flatten(2).mean((0, 2)) for gap in gaps]).sum(0)


@SCORES.add(
    label="Guidance gap, lower tail",
    kind="baseline",
    source="path",
    needs=frozenset({"classes", "null"}),
    keys={"points": "gap_points"},
)
def guidance_gap_low(path: SamplerPath, points: Points = (0.4, 0.6)) -> Tensor:
    """Minus the guidance gap: samples of which the class asked for says little, as of one that was never trained.

    Args:
        points: of the path, 0 for its first step to 1 for its last.
    """
    return -guidance_gap(path, points)


@SCORES.add(
    label="Weak-model gap",
    kind="baseline",
    source="path",
    needs=frozenset({"weak"}),
    keys={"points": "weak_points"},
)
def weak_model_gap(path: SamplerPath, points: Points = (0.25, 0.5, 0.75)) -> Tensor:
    """Squared distance of x0_hat to that of an earlier checkpoint of the network, summed over dimensions and points.

    An evaluation a point.

    Args:
        points: of the path, 0 for its first step to 1 for its last.
    Source: the weak model of autoguidance, Karras et al., arXiv 2406.02507; as a score of samples ours.
    """
    gaps = [path.x0(step) - path.x0(step, who=WEAK) for step in path.at(points)]
    return torch.stack([gap.square().flatten(2).sum((0, 2)) for gap in gaps]).sum(0)
