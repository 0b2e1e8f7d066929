"""Published numbers are quoted as they are known, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from genuq.errors import ConfigurationError
from genuq.report.study.published import STATUSES, published, published_numbers

FACTS = Path(__file__).parents[3].parent / "shared" / "published_numbers.yaml"


@pytest.mark.skipif(not FACTS.exists(), reason="the collection of facts is not on this machine")
def test_the_copy_says_what_the_facts_say():
    facts, known = yaml.safe_load(FACTS.read_text()), published_numbers()
    assert known.keys() == facts.keys()
    for name, entry in facts.items():
        assert known[name].source == entry["source"]
        assert known[name].status == entry["status"]
        assert known[name].protocol == entry.get("protocol", "")
        assert list(known[name].rows) == entry["rows"]
        assert known[name].unit == entry.get("unit", known[name].unit)


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
