"""Many draws of a last layer in one forward pass: the trunk runs once, the head with all draws side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genuq.models import GenerativeModel
from genuq.posteriors.curvature.arrangement import Arrangement
from genuq.posteriors.curvature.capture import head_features
from genuq.posteriors.last_layer import LastLayerPosterior


class ManyDraws:
    """f under M weight draws of the head, at the cost of one evaluation and of a head M times as wide.

    The head is linear: f_m = f + R(D_m a) with D_m the draw's deviation, a the head's input and R the rearrangement
    behind it (found at the first call, in a few passes of one sample).

    Args:
        model: with the trained weights, which are not touched.
        posterior: finalised, over the model's head.
        draws: indices of the draws.
        seed: of the draws.
    """

    def __init__(
        self, model: GenerativeModel, posterior: LastLayerPosterior, draws: Sequence[int], seed: int = 0
    ) -> None:
        self.model, self.head, self.many = model, posterior.head, len(draws)
        drawn = torch.stack([posterior.head.flattened(posterior.draw(index, seed)) for index in draws])
        self.deviations_RK = (drawn - posterior.mean_OK).flatten(0, 1)
        self._arrangement: Arrangement | None = None

    @torch.no_grad()
    def __call__(self, x: Tensor, t_B: Tensor, y_B: Tensor | None) -> Tensor:
        """Predictions (M, B, ...) at states x, times t and classes y.

        Raises:
            ConfigurationError: something other than a rearrangement stands behind the head.
        """
        prediction, features, output = head_features(self.model, x, t_B, y_B)
        if self._arrangement is None:
            first = (x[:1], t_B[:1], None if y_B is None else y_B[:1])
            self._arrangement = Arrangement(self.model.head, output[:1].detach(), lambda: self.model(*first))
        wide = self.head.project(features, self.deviations_RK.to(features))
        by_draw = wide.unflatten(self.head.channel_axis, (self.many, -1)).movedim(self._draw_axis(wide), 0)
        moved = self._arrangement(by_draw.flatten(0, 1)).unflatten(0, (self.many, len(x)))
        return prediction.detach() + moved.to(prediction)

    def _draw_axis(self, wide: Tensor) -> int:
        """Where the draws stand once the channels are split into (M, O)."""
        return self.head.channel_axis % wide.ndim
