"""Processes: the path from data to noise, and the conversion between prediction types."""

from typing import Any

from genuq.processes.base import Process
from genuq.processes.continuous import ContinuousVP
from genuq.processes.exploding import Exploding
from genuq.processes.prediction import (
    PREDICTIONS,
    Conversion,
    Predicted,
    Prediction,
    between,
    conversion,
    edm,
    require_prediction,
    target,
    target_coefficients,
)
from genuq.processes.process import FlowMatching, VariancePreserving
from genuq.processes.register import PROCESSES, ProcessPart
from genuq.processes.scheduled import ScheduledDiffusion, ScheduledFlow, process_of


def build(name: str, **options: Any) -> Process:
    """The process called `name`: of genuq's own `flow_matching` or `variance_preserving`.

    Options of another of genuq's processes are passed over: a model's description has them all.

    Raises:
        ConfigurationError: no process has this name, or it has no such option.
    """
    part = PROCESSES.get(name)
    others = {option for other in PROCESSES.values() if other.builtin for option in other.option_names}
    known = set(part.option_names)
    return part.make(**{key: value for key, value in options.items() if key in known or key not in others})


__all__ = [
    "PREDICTIONS",
    "PROCESSES",
    "ContinuousVP",
    "Conversion",
    "Exploding",
    "FlowMatching",
    "Predicted",
    "Prediction",
    "Process",
    "ProcessPart",
    "ScheduledDiffusion",
    "ScheduledFlow",
    "VariancePreserving",
    "between",
    "build",
    "conversion",
    "edm",
    "process_of",
    "require_prediction",
    "target",
    "target_coefficients",
]
