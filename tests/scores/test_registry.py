import pytest

from genuq import scores
from genuq.errors import ConfigurationError
from genuq.scores import BASELINES, CONTROLS, FUNCTIONALS, SCORES


def test_every_score_has_one_entry_and_a_label_of_its_own():
    assert set(SCORES) == {*FUNCTIONALS, *BASELINES, *CONTROLS, "pixel_variance", "realism", "rarity"}
    assert len({entry.label for entry in SCORES.values()}) == len(SCORES)
    assert {entry.kind for entry in SCORES.values()} == {"score", "baseline", "control", "oracle"}


def test_an_unknown_name_is_answered_with_the_nearest():
    assert scores.entry("rarity").kind == "oracle"
    with pytest.raises(ConfigurationError, match=r"score.also: 'aleatorik'.*Did you mean 'aleatoric'"):
        scores.entry("aleatorik", "score.also")
