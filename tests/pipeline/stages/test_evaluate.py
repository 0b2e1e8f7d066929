"""What evaluation leaves of each sample: the same as columns and as rows."""

from __future__ import annotations

import pytest
import torch

from genuq.metrics import frechet_distance
from genuq.metrics.frechet import gaussian_of
from genuq.pipeline.stages.evaluate import quality_of_draws, sample_columns, sample_table

SAMPLES = {"index": torch.tensor([0, 1, 2]), "class": torch.tensor([1, 0, 1]), "image": torch.zeros(3, 1, 2, 2)}
SCORES = {
    "entropy": torch.tensor([0.5, 0.25, float("inf")], dtype=torch.float64),
    "random": torch.tensor([3.0, 1.0, 2.0]),
}
FACTS = {
    "realism": torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64),
    "membership": torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64),
    "bad": torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64),
    "class": torch.tensor([1, 0, 1]),
}


def test_rows_hold_what_the_columns_hold_under_the_same_names():
    columns = sample_columns(SAMPLES, SCORES, FACTS)
    table = sample_table(columns, ["bag", "shirt"])
    assert table.columns == [
        *("index", "class", "class_name", "score_entropy", "score_random", "realism", "member", "bad")
    ]
    assert table.rows == [
        [0, 1, "shirt", 0.5, 3.0, 0.1, 1, 0],
        [1, 0, "bag", 0.25, 1.0, 0.2, 0, 1],
        [2, 1, "shirt", float("inf"), 2.0, 0.3, 1, 0],
    ]
    whole = [type(value) for value in table.rows[0]]
    assert whole == [int, int, str, float, float, float, int, int]
    assert {name: values.dtype for name, values in columns.items() if name.startswith("score")} == {
        "score_entropy": torch.float64,
        "score_random": torch.float64,
    }


def test_a_model_without_classes_has_none():
    columns = sample_columns(SAMPLES | {"class": torch.full((3,), -1)}, SCORES, {"membership": torch.zeros(3)})
    assert [row[:3] for row in sample_table(columns, []).rows] == [[0, None, None], [1, None, None], [2, None, None]]


def test_a_fault_stands_by_its_name_among_the_samples():
    facts = FACTS | {"fault": torch.tensor([0, 2, 1]), "defect_size": torch.tensor([0.0, 9.5, 5.0])}
    table = sample_table(sample_columns(SAMPLES, SCORES, facts), ["bag", "shirt"], ("valid", "torn", "bent"))
    assert table.column("fault") == ["valid", "bent", "torn"] and table.column("defect_size") == [0.0, 9.5, 5.0]


def test_the_quality_of_draws_may_compare_with_statistics_of_others():
    """Oracle: the features that the statistics were taken of."""
    numbers = torch.Generator().manual_seed(0)
    others, real, images = (torch.randn(30, 3, generator=numbers) for _ in range(3))
    draws = torch.randn(30, 2, 3, generator=numbers)
    found = quality_of_draws({"real": real, "image": images, "draws": draws}, "draws", gaussian_of(others))
    wanted = [frechet_distance(others, features) for features in (images, draws[:, 0], draws[:, 1])]
    assert [found.fid_map, *found.fid_draws] == pytest.approx(wanted, rel=1e-12)


def test_prompts_stand_in_a_column_of_their_own():
    table = sample_table(sample_columns(SAMPLES, SCORES, {}), ["a red cat", "two dogs"], prompted=True)
    assert table.columns[:3] == ["index", "class", "prompt"] and set(table.column("prompt")) <= {
        "a red cat",
        "two dogs",
    }
