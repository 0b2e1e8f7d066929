"""Names of studies and runs tell the scale that they were made at."""

from __future__ import annotations

from genuq.store.scales import FULL, at_scale, explanation_of, mark_of, scale_of, warning_of


def test_full_scale_leaves_names_alone_and_another_marks_them_once() -> None:
    assert at_scale("table", FULL) == "table" and mark_of(FULL) == warning_of(FULL) == ""
    assert at_scale(at_scale("table", "smoke"), "smoke") == "table@smoke"
    assert (scale_of("table"), scale_of("table@smoke")) == (FULL, "smoke")
    assert "no result" in warning_of("smoke") and "smoke" in explanation_of("smoke")
