"""Which parts of a run keep faults of released code, as its report says."""

from __future__ import annotations

from pathlib import Path

import pytest

from genuq.pipeline.as_released import as_released
from support.small_runs import run_of


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["experiment=papers_corrected"], []),
        (["experiment=papers_as_released"], ["Fisher", "4,096 images", "branches", "half precision, uncentred"]),
        (["posterior=diagonal_laplace", "posterior.convention=laplace_torch"], ["Fisher"]),
        (["posterior.n_effective=64", "posterior.images=64"], ["64 images"]),
        (["propagator=paper"], ["uncentred covariance, missing total variance, dropped slope."]),
        (["propagator=paper", "propagator.faults=[dropped_slope]"], ["variances have dropped slope."]),
        (["propagator=paper", "propagator.faults=[]"], []),
        (["score=entropy_as_released", "score.entropy_faults=[half_precision]"], ["has half precision."]),
        (["score=entropy", "score.also=[entropy_as_released]", "score.entropy_faults=[]"], []),
    ],
    ids=" ".join,
)
def test_a_sentence_for_each_part_that_keeps_faults(tmp_path: Path, given: list[str], told: list[str]) -> None:
    sentences = as_released(run_of(tmp_path, "model=ddpm", *given))
    assert len(sentences) == len(told)
    assert all(words in sentence for words, sentence in zip(told, sentences))
    assert all(sentence.startswith("As released, on purpose: ") for sentence in sentences)
