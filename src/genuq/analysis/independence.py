"""The encoder that judges must not be the one that scores: with a shared encoder even noise on the image looks good."""

from __future__ import annotations

from genuq.analysis.evaluation_entries import JudgeEntry
from genuq.errors import ConfigurationError
from genuq.metrics import MetricLabel


def check_independence(score_extractor: str | None, judge_extractor: str, allow: bool = False) -> str | None:
    """None when judge and score see through different encoders; else an error, or a warning if allowed.

    Args:
        score_extractor: encoder in whose space the score was computed; None for pixels.
        judge_extractor: encoder in whose space the metrics are computed.
        allow: go on with a shared encoder and mark the results.
    Returns:
        The sentence that marks results of a shared encoder, or None.
    Raises:
        ConfigurationError: the same encoder, not allowed.
    """
    if score_extractor is None or score_extractor.strip().lower() != judge_extractor.strip().lower():
        return None
    shared = (
        f"'{judge_extractor}' both scores and judges, so that the score is rewarded for the encoder's own blind spots"
    )
    if allow:
        return f"{shared}: do not compare these numbers with those of an independent judge."
    raise ConfigurationError(
        f"{shared}. Set the key metric.extractor to another encoder than likelihood.extractor, "
        "or metric.allow_shared_extractor to true to see the marked results."
    )


def describe_judge(
    label: MetricLabel,
    score_extractor: str | None,
    *,
    allow_shared: bool = False,
    real_test_accuracy: float | None = None,
    sample_accuracy: float | None = None,
) -> JudgeEntry:
    """The `judge` entry of the results: who judged, how good it is on real test images, and what to beware of."""
    shared = check_independence(score_extractor, label.extractor, allow_shared)
    return JudgeEntry(
        **label.as_row(),
        real_test_accuracy=real_test_accuracy,
        sample_accuracy=sample_accuracy,
        independent=shared is None,
        warnings=([shared] if shared else []) + label.warnings(),
    )
