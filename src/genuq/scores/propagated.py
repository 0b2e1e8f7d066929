"""The score of propagated variances: one number from those of a sample's pixels."""

from __future__ import annotations

from genuq.propagators import image_score
from genuq.scores.registry import SCORES, ScorePart

SCORES.register(
    ScorePart(
        name="pixel_variance",
        target=image_score,
        label="Propagated pixel variance",
        description="Variance of the sample's pixels, to which that of the weights was propagated.",
        source="propagation",
    )
)
