"""Who may judge a score: anyone but the encoder that it was computed with."""

from __future__ import annotations

import pytest

from genuq.analysis.independence import check_independence, describe_judge
from genuq.errors import ConfigurationError
from genuq.metrics import MetricLabel

LABEL = MetricLabel("clip", 512, 5, 1000, 1000)


@pytest.mark.parametrize(("score", "judge"), [(None, "clip"), ("dino", "clip"), ("clip", "inception")])
def test_another_encoder_and_pixels_are_independent(score, judge):
    assert check_independence(score, judge) is None


@pytest.mark.parametrize("score", ["clip", "CLIP", " clip "])
def test_the_same_encoder_is_refused_or_marked(score):
    with pytest.raises(ConfigurationError, match=r"'clip' both scores and judges.*metric\.allow_shared_extractor"):
        check_independence(score, "clip")
    assert "do not compare these numbers" in check_independence(score, "clip", allow=True)


def test_the_description_says_whether_and_warns():
    alone, shared = describe_judge(LABEL, "dino"), describe_judge(LABEL, "clip", allow_shared=True, sample_accuracy=0.5)
    assert alone.independent and not shared.independent
    assert len(shared.warnings) == len(alone.warnings) + 1 and shared.sample_accuracy == 0.5
    assert all(getattr(alone, name) == value for name, value in LABEL.as_row().items())
