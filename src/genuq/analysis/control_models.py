"""What each score of an evaluation adds to its controls: one model for each set of controls that is asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genuq.analysis.inputs import Array, Column, column
from genuq.analysis.intervals import Undefined
from genuq.analysis.nested import Added, ControlsModel
from genuq.analysis.score_entries import Addition

COMPLEXITY = "complexity"


class ControlModels:
    """Models of class, complexity and controls.

    Args:
        bad: (N,) true for bad samples.
        controls: by name, (N,) each.
        classes: (N,) labels.
        complexity: (N,) of the image; it joins the controls unless it is one of them.
        clusters: (N,) labels of samples that belong together.
        bootstrap, seed: replicates, and the seed of them and of the folds.
    """

    def __init__(
        self,
        bad: Column,
        controls: Mapping[str, Column],
        *,
        classes: Column | None,
        complexity: Column | None,
        clusters: Column | None,
        bootstrap: int,
        seed: int,
    ) -> None:
        self.bad, self.classes, self.clusters = bad, classes, clusters
        self.bootstrap, self.seed = bootstrap, seed
        self.controls = {name: column(values, name) for name, values in controls.items()}
        if complexity is not None:
            self.controls.setdefault(COMPLEXITY, column(complexity, COMPLEXITY))
        self._models: dict[tuple[str, ...], ControlsModel] = {}

    def adds(self, name: str, values: Column) -> Addition | Undefined | None:
        """What a score adds to all controls but itself; None where there is nothing to add to."""
        known = self.known_beside(name, values)
        if known is None:
            return None
        found = self._model(known).gain([column(values, name)], bootstrap=self.bootstrap)
        if isinstance(found, Undefined):
            return found
        return Addition(
            found.gain.value,
            found.gain.low,
            found.gain.high,
            base=found.base.value,
            full=found.full.value,
            statistic=found.statistic,
            freedom=found.freedom,
            p=found.p,
            controls=list(known),
            by_class=self.classes is not None,
        )

    def added(self, name: str, values: Column) -> Added | Undefined | None:
        """`adds`, for replicates that are drawn elsewhere; None where there is nothing to add to."""
        known = self.known_beside(name, values)
        return None if known is None else self._model(known).added([column(values, name)])

    def known_beside(self, name: str, values: Column) -> tuple[str, ...] | None:
        """The controls in the model that a score is added to; None where that would know nothing at all."""
        values_N = column(values, name)
        known = tuple(other for other, held_N in self.controls.items() if not _same(name, values_N, other, held_N))
        return known if known or self.classes is not None else None

    def _model(self, known: tuple[str, ...]) -> ControlsModel:
        if known not in self._models:
            columns = [self.controls[name] for name in known]
            self._models[known] = ControlsModel(
                self.bad, columns, classes=self.classes, clusters=self.clusters, seed=self.seed
            )
        return self._models[known]


def _same(name: str, values_N: Array, other: str, other_N: Array) -> bool:
    """A score is no control of itself, nor of its double under another name."""
    return name == other or np.array_equal(values_N, other_N)
