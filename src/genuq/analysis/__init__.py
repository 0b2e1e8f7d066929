"""Does a score find the bad samples? Filtering curves, bins, correlations and detection, all with 95 % intervals."""

from genuq.analysis.bins import Bins, quantile_bins
from genuq.analysis.correlation import correlation
from genuq.analysis.detection import auroc, ause
from genuq.analysis.evaluation import EvaluationSettings, SampleFacts, ScoredSamples, evaluate_scores
from genuq.analysis.filtering import keep_lowest
from genuq.analysis.independence import check_independence, describe_judge
from genuq.analysis.intervals import Interval, Undefined, wilson_interval
from genuq.analysis.metrics import METRICS, MetricPart
from genuq.analysis.retention import Curve, Retention, RetentionStudy, retention_curves
from genuq.analysis.subsets import SubsetJudge
from genuq.analysis.summary import summarise

__all__ = [
    "METRICS",
    "Bins",
    "Curve",
    "EvaluationSettings",
    "Interval",
    "MetricPart",
    "Retention",
    "RetentionStudy",
    "SampleFacts",
    "ScoredSamples",
    "SubsetJudge",
    "Undefined",
    "auroc",
    "ause",
    "check_independence",
    "correlation",
    "describe_judge",
    "evaluate_scores",
    "keep_lowest",
    "quantile_bins",
    "retention_curves",
    "summarise",
    "wilson_interval",
]
