"""Processes: the path from data to noise, and the conversion between prediction types."""

from genuq.processes.prediction import PREDICTIONS, Conversion, conversion, target, target_coefficients
from genuq.processes.process import FlowMatching, Process, VariancePreserving, build

__all__ = [
    "PREDICTIONS",
    "Conversion",
    "FlowMatching",
    "Process",
    "VariancePreserving",
    "build",
    "conversion",
    "target",
    "target_coefficients",
]
