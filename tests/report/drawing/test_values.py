"""Numbers as the reader sees them."""

import math

import pytest

from genuq.report.drawing.values import (
    decimals,
    duration,
    evenly,
    interval,
    percent,
    power_of_ten,
    significant,
    spoken,
    titled,
    words,
)


@pytest.mark.parametrize("missing", [None, math.nan, math.inf, "text", True])
@pytest.mark.parametrize("render", [decimals, significant, percent, duration])
def test_what_is_not_a_number_is_a_dash(render, missing):
    assert render(missing) == "–"


def test_decimals_have_a_true_minus_and_no_negative_zero():
    assert [decimals(value) for value in (-0.417, 0.0, -0.001, 1234.5)] == ["−0.42", "0.00", "0.00", "1,234.50"]


def test_significant_keeps_whole_numbers_and_small_magnitudes():
    seen = [significant(value) for value in (1024, 60000.0, 0.00123456, 12.3456, 99.96, 3.14159e-7, -2.5e-9, 0)]
    assert seen == ["1,024", "60,000", "0.00123", "12.3", "100.0", "3.14×10⁻⁷", "−2.50×10⁻⁹", "0"]


def test_durations_read_like_a_clock():
    assert [duration(value) for value in (0.25, 42, 185, 7440)] == ["0.25 s", "42 s", "3 min 5 s", "2 h 4 min"]


def test_words_of_missing_and_truth_values():
    assert [words(value) for value in (None, "", math.nan, True, False, "ddim", 20)] == [
        "–",
        "–",
        "–",
        "yes",
        "no",
        "ddim",
        "20",
    ]
    assert spoken("flow_matching") == "flow matching"


def test_ticks_of_a_logarithmic_axis():
    assert [power_of_ten(10.0**n) for n in (-8, -3, 0, 3, 5)] == ["10⁻⁸", "0.001", "1", "1,000", "10⁵"]


def test_a_title_keeps_its_capitals():
    assert [titled(value) for value in ("class_accuracy", "FID of all", None)] == ["Class accuracy", "FID of all", "–"]


def test_an_interval_needs_both_ends():
    assert interval(-0.1, 0.25) == "[−0.10, 0.25]"
    assert interval(None, 0.25) == interval(0.1, math.nan) == ""


def test_an_even_choice_keeps_both_ends():
    assert evenly(3, 5) == [0, 1, 2]
    assert evenly(101, 5) == [0, 25, 50, 75, 100]
