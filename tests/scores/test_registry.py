import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.scores import SCORES, Probe, SamplerPath, ScorePart


def test_every_score_has_one_entry_and_a_label_of_its_own():
    functionals = ["entropy", "full_covariance_entropy", "trace", "cosine", "paide"]
    assert SCORES.names(source="draws") == [*functionals, "entropy_as_released"]
    assert set(SCORES.names(source="trajectory")) == {"aleatoric", "trajectory_variance", "divergence", "likelihood"}
    path = {"path_disagreement", "path_disagreement_semantic", "guidance_gap", "guidance_gap_low", "weak_model_gap"}
    assert set(SCORES.names(source="path")) == path
    disagreements = {"renoised_disagreement", "renoised_disagreement_semantic", "renoised_isotropic"}
    disagreements |= {f"renoised_epistemic{kind}" for kind in ("", "_semantic", "_share")}
    others = {"lid", "self_confidence", "class_margin", "score_norm", "null_gap"}
    assert set(SCORES.names(source="probe")) == disagreements | others
    controls = {"random", "complexity", "direct_noise", "jitter", "lmi", "isotropic", "class_prior"}
    assert set(SCORES.names(kind="control")) == controls | {"renoised_isotropic", "score_norm"}
    assert SCORES.names(kind="oracle") == ["realism", "rarity"] and SCORES.names(source="propagation")
    assert len({entry.label for entry in SCORES.values()}) == len(SCORES)
    assert {entry.kind for entry in SCORES.values()} == {"score", "baseline", "control", "oracle"}


def test_an_unknown_name_is_answered_with_the_nearest():
    assert SCORES.get("rarity").kind == "oracle"
    with pytest.raises(ConfigurationError, match=r"score.also: 'aleatorik'.*Did you mean 'aleatoric'"):
        SCORES.get("aleatorik", "score.also")


def test_a_score_may_need_only_what_there_is():
    with pytest.raises(ConfigurationError, match="needs 'members_of_it', which is none of"):
        ScorePart(name="mine", target=len, source="probe", needs=frozenset({"members_of_it"}))


def test_a_function_of_ones_own_says_by_its_argument_what_it_is_of():
    def novelty(probe: Probe, times: tuple[float, ...] = (0.2,)) -> torch.Tensor:
        """How odd it is."""

    def turn(path: SamplerPath) -> torch.Tensor:
        """How sharply it turns."""

    def oddness(images: torch.Tensor) -> torch.Tensor:
        """How odd it looks."""

    novelty.needs = {"members", "encoder"}
    part = ScorePart.of(novelty)
    assert (part.source, part.needs, part.option_names) == ("probe", {"members", "encoder"}, ["times"])
    assert (ScorePart.of(turn).source, ScorePart.of(turn).needs) == ("path", frozenset())
    assert (ScorePart.of(oddness).source, ScorePart.of(oddness).kind) == ("image", "score")
    assert ScorePart.of(lambda embeddings, variance: None, name="mine").source == "draws"
