"""Published numbers are quoted as they are known, and no others."""

from __future__ import annotations

import pytest

from genuq.errors import ConfigurationError
from genuq.report.study.published import STATUSES, published, published_numbers

NUMBERS = {  # read in the sources once more, and typed again
    "bayesdiff_selected_fid": {"fid": [8.45, 9.67, 6.81, 16.87]},
    "aleatoric_uncertainty_fid": {"random": [8.21, 8.50, 7.88, 16.47], "au": [7.88, 8.48, 7.80, 16.37]},
    "diff_uq_fid_10k": {"random": [9.45], "generative_uncertainty": [7.89]},
    "diff_uq_adm_precision": {"unfiltered_precision": [round(7039 / 12032, 3)]},
    "bayesdiff_celeba_reproduction": {"fid": [62.53, 62.84, 62.91], "std": [0.10]},
}


def test_the_numbers_are_those_that_were_published_and_no_others():
    known = published_numbers()
    assert known.keys() == NUMBERS.keys()
    for name, columns in NUMBERS.items():
        assert set(known[name].measures) == set(columns)
        for column, numbers in columns.items():
            assert [row[column] for row in known[name].rows if column in row] == numbers
    assert {name for name, entry in known.items() if entry.status == "paper"} == {
        "bayesdiff_selected_fid",
        "aleatoric_uncertainty_fid",
    }


def test_every_number_has_a_source_a_status_and_a_unit():
    for entry in published_numbers().values():
        assert entry.source and entry.unit and entry.rows and entry.status in STATUSES
        assert all(any(name in row for name in entry.measures) for row in entry.rows)


def test_text_comes_before_numbers():
    (entry,) = published(["aleatoric_uncertainty_fid"])
    assert entry.columns == ["model", "dataset", "sampler", "random", "au"]
    assert entry.measures == ["random", "au"]


def test_what_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(ConfigurationError, match=r"'bayesdif_selected_fid' is not .*Did you mean 'bayesdiff_selected"):
        published(["bayesdif_selected_fid"])
