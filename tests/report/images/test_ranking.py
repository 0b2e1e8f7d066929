"""The order of doubt, percentiles, what is kept, and the table."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from genuq.errors import ConfigurationError
from genuq.report.images.ranking import Column, Ranking, kept_by, parsed_keep, require_some

VALUES = np.array([0.3, 0.9, 0.3, 0.1, 0.5])


def ranking(**options) -> Ranking:
    columns = [Column("lid", "LID", "baseline", VALUES, 4.0), Column("other", "Other", "score", -VALUES, 1.0)]
    return Ranking([f"{n}.png" for n in range(5)], options.pop("classes", []), columns, **options)


def test_a_percentile_is_the_share_of_the_other_images_with_a_lower_score() -> None:
    column = ranking().columns[0]
    by_hand = [100 * sum(other < value for other in VALUES) / 4 for value in VALUES]
    np.testing.assert_allclose(column.percentiles, by_hand)
    assert column.percentiles[1] == 100 and column.percentiles[3] == 0
    assert Column("one", "", "score", np.array([2.0]), 1).percentiles.tolist() == [0]


def test_the_table_has_the_most_doubtful_first() -> None:
    made = ranking(classes=["=a"] * 5, kept=kept_by(VALUES, 2))
    rows = list(csv.DictReader(io.StringIO(made.csv())))
    assert [row["file"] for row in rows] == ["1.png", "4.png", "2.png", "0.png", "3.png"]
    assert [row["rank"] for row in rows] == list("12345") and rows[0]["class"] == "'=a"
    assert [row["kept"] for row in rows] == ["no", "no", "no", "yes", "yes"]
    assert [float(row["lid"]) for row in rows] == VALUES[[1, 4, 2, 0, 3]].tolist()
    assert [float(row["other_percentile"]) for row in rows] == [0, 25, 50, 50, 100]
    assert "class" not in ranking().csv() and "kept" not in ranking().csv()


def test_what_is_kept_has_the_lowest_scores_and_of_equal_ones_the_first() -> None:
    assert kept_by(VALUES, 2).tolist() == [True, False, False, True, False]
    assert kept_by(VALUES, 0.6).tolist() == [True, False, True, True, False]
    for count in range(1, 5):
        assert kept_by(VALUES, count).sum() == count


def test_a_share_has_a_point_and_a_number_has_none() -> None:
    assert parsed_keep("0.8") == 0.8 and parsed_keep("100") == 100 and isinstance(parsed_keep("1"), int)
    for text in ("1.0", "0", "-3", "0.0", "x", "0,8", "80%", "nan", "1e-3"):
        with pytest.raises(ConfigurationError, match="--keep"):
            parsed_keep(text)
    for keep in (5, 6, 0.99, 0.01):
        with pytest.raises(ConfigurationError, match="of 5 images"):
            require_some(keep, 5)
    require_some(4, 5)
