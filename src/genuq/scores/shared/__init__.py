"""Scores that share their network evaluations: of the sampler's one path, and of the finished sample noised again."""

from __future__ import annotations

from genuq.scores.shared.fresh import Fresh, fresh
from genuq.scores.shared.ledger import Cost, Ledger
from genuq.scores.shared.path import PathRecorder, SamplerPath, recording
from genuq.scores.shared.predictions import MAIN, Predictions, Resources, SharedScores, score_together
from genuq.scores.shared.probe import Probe

__all__ = [
    "MAIN",
    "Cost",
    "Fresh",
    "Ledger",
    "PathRecorder",
    "Predictions",
    "Probe",
    "Resources",
    "SamplerPath",
    "SharedScores",
    "fresh",
    "recording",
    "score_together",
]
