"""What a number was measured with. A value without its extractor, k and N cannot be compared with another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from genuq.metrics.frechet import small_sample_text


@dataclass(frozen=True)
class MetricLabel:
    """The conditions of a row of metrics, for its heading and its JSON.

    Args:
        extractor: name of the encoder that made the features.
        dimension: D of its features.
        k: neighbours of precision, recall, density, coverage, realism and rarity.
        samples: fake samples.
        reference: real samples.
    """

    extractor: str
    dimension: int
    k: int
    samples: int
    reference: int

    def __str__(self) -> str:
        return f"{self.extractor}, D = {self.dimension}, k = {self.k}, N = {self.samples:,} of {self.reference:,} real"

    def as_row(self) -> dict[str, Any]:
        """The part of a table's row that says how it was measured."""
        return {
            "extractor": self.extractor,
            "dimension": self.dimension,
            "k": self.k,
            "samples": self.samples,
            "reference": self.reference,
        }

    def warnings(self) -> list[str]:
        """Sentences on what these conditions do to the numbers; empty when nothing is wrong."""
        text = small_sample_text(min(self.samples, self.reference), self.dimension)
        return [text] if text else []
