import pytest

from genuq.errors import ConfigurationError
from genuq.scores import SCORES


def test_every_score_has_one_entry_and_a_label_of_its_own():
    assert SCORES.names(source="draws") == ["entropy", "full_covariance_entropy", "trace", "cosine", "paide"]
    assert set(SCORES.names(kind="baseline")) == {"aleatoric", "trajectory_variance", "divergence", "likelihood"}
    assert set(SCORES.names(kind="control")) == {"random", "complexity", "direct_noise", "jitter", "isotropic"}
    assert SCORES.names(kind="oracle") == ["realism", "rarity"] and SCORES.names(source="propagation")
    assert len({entry.label for entry in SCORES.values()}) == len(SCORES)
    assert {entry.kind for entry in SCORES.values()} == {"score", "baseline", "control", "oracle"}


def test_an_unknown_name_is_answered_with_the_nearest():
    assert SCORES.get("rarity").kind == "oracle"
    with pytest.raises(ConfigurationError, match=r"score.also: 'aleatorik'.*Did you mean 'aleatoric'"):
        SCORES.get("aleatorik", "score.also")
