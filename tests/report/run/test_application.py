"""The application's outcome beside its control, and its examples."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from genuq.analysis.results import Application
from genuq.entries import from_json
from genuq.errors import DataError
from genuq.report.drawing.document import whisker
from genuq.report.drawing.vocabulary import direction
from genuq.report.run.application import (
    checked_examples,
    example_sheet,
    masked,
    measure_name,
    outcome_markdown,
    page_examples,
    places_of,
)
from support.rich_run import application

RANDOM = np.random.default_rng(0)


def told():
    return from_json(Application, application())


def examples(count=3, channels=1, side=6):
    images = {
        name: RANDOM.integers(0, 256, (count, channels, side, side)).astype(np.uint8) for name in ("before", "after")
    }
    return images | {"mask": (RANDOM.random((count, side, side)) > 0.5).astype(np.uint8)}


def test_value_and_control_are_drawn_on_one_scale():
    row = told().outcome[0]
    both = [row.ours, row.control]
    places = [whisker(entry, both, (row.value, row.value)) for entry in both]
    span = row.control_high - row.low  # 13.8 to 16.2
    assert places[0]["low"] == 0 and places[1]["high"] == 100
    assert places[0]["middle"] == pytest.approx(100 * (row.value - row.low) / span, abs=0.01)
    assert places[1]["middle"] == pytest.approx(100 * (row.control_value - row.low) / span, abs=0.01)


def test_a_difference_is_drawn_with_its_zero():
    gap = told().outcome[0].gap
    place = whisker(gap, [gap], (0, 0))
    assert place["zero"] == 100 and place["low"] == 0 and place["high"] < 100


@pytest.mark.parametrize(
    ("numbers", "places"),
    [((14.2, 15.8, -1.6), 1), ((0.934, 0.911, 0.023), 3), ((812.0, 800.0, 12.0), 0), ((None, None, 0.0), 2)],
)
def test_two_digits_of_the_smallest_number(numbers, places):
    given = dict(zip(("value", "control_value", "difference"), numbers))
    assert places_of(replace(told().outcome[0], **given, difference_low=None, difference_high=None)) == places


@pytest.mark.parametrize(("width", "places"), [(0.067, 3), (0.0067, 4), (11.0, 1), (0.0, 4)])
def test_no_more_digits_than_the_interval_is_worth(width, places):
    row = {"value": 0.8958, "control_value": 0.8896, "difference": 0.0062}
    assert places_of(replace(told().outcome[0], **row, difference_low=0.0, difference_high=width)) == places


def test_the_direction_is_said_where_it_is_known():
    assert [direction(name) for name in ("fid", "recall", "change")] == ["lower is better", "higher is better", ""]


def test_a_mask_tints_what_is_inside_whatever_its_maximum():
    given = examples()
    for factor in (1, 255):
        tinted = masked(given["before"], (factor * given["mask"])[:, None])
        outside = np.broadcast_to(given["mask"][:, None] == 0, tinted.shape)
        np.testing.assert_array_equal(tinted[outside], np.repeat(given["before"], 3, 1)[outside])
        inside = 0.35 * given["before"][:, 0] + 0.65 * 232
        np.testing.assert_allclose(tinted[:, 0][given["mask"] == 1], inside[given["mask"] == 1], atol=0.6)


def test_pictures_are_in_reading_order_and_hold_their_pixels():
    given = examples()
    rows = [example.pictures for example in page_examples(checked_examples(given))]
    assert [[picture.name for picture in row] for row in rows] == [["Before", "Where", "After"]] * 3
    assert rows[1][2].alt == "Example 2: after"
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(rows[1][2].uri.split(",")[1]))))
    np.testing.assert_array_equal(decoded, given["after"][1, 0])


def test_what_a_rule_took_is_told_below_the_picture():
    taken = {"accepted": np.array([1, 0, 0], np.uint8), "control_accepted": torch.tensor([True, True, False])}
    given = examples()
    rows = [row.pictures for row in page_examples(checked_examples(given | {"control": given["after"]} | taken))]
    names = [[picture.name for picture in row[2:]] for row in rows]
    assert [row[0] for row in names] == ["After, accepted", "After, refused", "After, refused"]
    assert [row[1] for row in names] == ["Control, accepted", "Control, accepted", "Control, refused"]
    assert rows[1][2].alt == "Example 2: after, refused"
    assert example_sheet(checked_examples(given | taken))[1] == 3


def test_each_example_has_the_prompt_of_its_sample():
    given, prompts = examples() | {"index": torch.tensor([3, 0, 3])}, ["a", "b", "c", "d"]
    rows = page_examples(checked_examples(given), prompts)
    assert [row.prompt for row in rows] == ["d", "a", "d"] and rows[0].pictures[0].prompt is None
    assert [row.prompt for row in page_examples(checked_examples(given))] == [None] * 3
    assert example_sheet(checked_examples(given))[1] == 3


def test_pictures_of_samples_with_several_prompts_have_each_its_own():
    given = examples() | {"index": np.array([3, 0, 3]), "after_index": np.array([3, 1, 2])}
    rows = page_examples(checked_examples(given), ["a", "b", "c", "d"])
    assert [row.prompt for row in rows] == ["d", None, None]
    assert [[picture.prompt for picture in row.pictures] for row in rows] == [
        [None] * 3,
        ["a", "a", "b"],
        ["d", "d", "c"],
    ]


def test_the_sheet_has_an_example_a_row():
    given = checked_examples(examples(channels=3))
    images, columns = example_sheet(given)
    assert images.shape == (9, 3, 6, 6) and columns == 3
    np.testing.assert_array_equal(images[3], given["before"][1])
    np.testing.assert_array_equal(images[5], given["after"][1])


def test_a_mask_may_have_a_channel():
    given = examples()
    flat, deep = (checked_examples(given | {"mask": mask}) for mask in (given["mask"], given["mask"][:, None]))
    np.testing.assert_array_equal(flat["mask"], deep["mask"])


def test_measures_are_named_as_elsewhere():
    assert [measure_name(name) for name in ("fid", "kid", "confidence_gain")] == ["FID", "KID", "Confidence gain"]


def test_the_markdown_holds_the_sentence_and_every_measure():
    lines = outcome_markdown(told())
    assert told().sentence in lines
    assert "| Class accuracy | 0.934 [0.922, 0.946] | 0.911 [0.899, 0.923] | 0.023 [0.007, 0.039] | 512 |" in lines
    assert outcome_markdown(None) == []


def test_no_examples_are_no_pictures():
    assert checked_examples(None) == {} and page_examples({}) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"afterwards": np.zeros((3, 1, 6, 6), np.uint8)}, "no part 'afterwards'"),
        ({"after": np.zeros((3, 1, 6, 6))}, "'after' must be uint8"),
        ({"after": np.zeros((2, 1, 6, 6), np.uint8)}, "equal sizes"),
        ({"mask": np.zeros((3, 5, 6), np.uint8)}, "equal sizes"),
        ({"accepted": np.zeros(2, np.uint8)}, "'accepted' must say one thing of each of 3"),
    ],
)
def test_examples_that_do_not_belong_together_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        checked_examples(examples() | change)


def test_a_mask_needs_the_image_that_it_lies_on():
    with pytest.raises(DataError, match="'before' where they have a mask"):
        checked_examples({"mask": np.zeros((3, 6, 6), np.uint8)})
