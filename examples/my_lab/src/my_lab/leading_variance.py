"""How far a sample's embeddings spread along the one direction in which they spread most."""

from __future__ import annotations

import torch
from torch import Tensor

from genuq.scores import ScorePart


def leading_variance(embeddings_NMD: Tensor, observation_variance: Tensor | float) -> Tensor:
    """The largest eigenvalue of the embeddings' covariance over the draws, in squared units of the features.

    With fewer draws than features the eigenvalues are those of the draws' Gram matrix, M x M.

    Args:
        embeddings_NMD: N samples under M draws in D features.
        observation_variance: of an embedding; it adds the same to every eigenvalue, so that this score ignores it.

    Returns:
        (N,) float64, higher is more uncertain.
    """
    centred_NMD = embeddings_NMD.double() - embeddings_NMD.double().mean(1, keepdim=True)
    gram_NMM = centred_NMD @ centred_NMD.mT / centred_NMD.shape[1]
    return torch.linalg.eigvalsh(gram_NMM)[:, -1].clamp(min=0)


PART = ScorePart.of(leading_variance, label="Leading variance")
