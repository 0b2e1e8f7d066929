"""Labels say how a number was measured."""

from __future__ import annotations

from genuq.metrics import (
    MetricLabel,
    small_sample_text,
)


def test_labels_say_how_a_row_was_measured():
    label = MetricLabel("fashion_classifier", dimension=64, k=5, samples=1024, reference=5000)
    assert str(label) == "fashion_classifier, D = 64, k = 5, N = 1,024 of 5,000 real"
    assert label.as_row()["samples"] == 1024
    assert label.warnings() == []
    crowded = MetricLabel("clip", dimension=512, k=5, samples=512, reference=5000)
    assert crowded.warnings() == [small_sample_text(512, 512)]
