"""Does a score find the bad samples? Filtering curves, bins, correlations and detection, all with 95 % intervals."""

from genuq.analysis.agreement import Agreement, PairOfJudges, judges_agree
from genuq.analysis.best_control import OverBestControl, over_best_control
from genuq.analysis.bins import Bins, quantile_bins
from genuq.analysis.correlation import correlation
from genuq.analysis.detection import auroc, auroc_within, ause
from genuq.analysis.evaluation import (
    EvaluationSettings,
    SampleFacts,
    ScoredSamples,
    evaluate_scores,
    neighbourhood_for,
)
from genuq.analysis.filtering import keep_lowest
from genuq.analysis.hierarchy import TrainingSeed, hierarchical_interval
from genuq.analysis.independence import check_independence, describe_judge
from genuq.analysis.intervals import Interval, Undefined, wilson_interval
from genuq.analysis.maps import JudgedMap, edge_map, judge_map, judge_maps, random_map
from genuq.analysis.metrics import METRICS, MetricPart
from genuq.analysis.multiplicity import benjamini_hochberg, holm
from genuq.analysis.nested import ControlsModel, NestedGain, nested_gain
from genuq.analysis.paired import DeLong, Difference, auroc_difference, delong, delong_difference
from genuq.analysis.placebo import Placebo, observable_auroc, placebo
from genuq.analysis.resampling import Resampling
from genuq.analysis.retention import Curve, Retention, RetentionStudy, retention_curves
from genuq.analysis.subsets import SubsetJudge
from genuq.analysis.summary import summarise

__all__ = [
    "METRICS",
    "Agreement",
    "Bins",
    "ControlsModel",
    "Curve",
    "DeLong",
    "Difference",
    "EvaluationSettings",
    "Interval",
    "JudgedMap",
    "MetricPart",
    "NestedGain",
    "OverBestControl",
    "PairOfJudges",
    "Placebo",
    "Resampling",
    "Retention",
    "RetentionStudy",
    "SampleFacts",
    "ScoredSamples",
    "SubsetJudge",
    "TrainingSeed",
    "Undefined",
    "auroc",
    "auroc_difference",
    "auroc_within",
    "ause",
    "benjamini_hochberg",
    "check_independence",
    "correlation",
    "delong",
    "delong_difference",
    "describe_judge",
    "edge_map",
    "evaluate_scores",
    "hierarchical_interval",
    "holm",
    "judge_map",
    "judge_maps",
    "judges_agree",
    "keep_lowest",
    "neighbourhood_for",
    "nested_gain",
    "observable_auroc",
    "over_best_control",
    "placebo",
    "quantile_bins",
    "random_map",
    "retention_curves",
    "summarise",
    "wilson_interval",
]
