"""LID at two times for the price of one: README.md, `LID's time on images`.

PYTHONPATH=experiments/leaderboard genuq leaderboard --from SETS --out FOLDER --score two_times:two_times
"""

from __future__ import annotations

import torch
from torch import Tensor

from genuq.scores import Probe


def two_times(probe: Probe) -> Tensor:
    """Mean over t = 0.3 and 0.5 of the logarithm of LID's loss, two noisings each; logarithms, since losses of the two
    are of different sizes."""
    return torch.stack([probe.residual(level).log() for level in probe.at((0.3, 0.5), 2)]).mean(0)
