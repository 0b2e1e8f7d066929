"""An evaluation on disk: read back as it was, and its scores alone whether or not they have a file of their own."""

from __future__ import annotations

import pytest

from genuq import files
from genuq.analysis.evaluation_entries import read_evaluation, read_scores, write_evaluation
from genuq.analysis.score_entries import IntervalRow
from genuq.errors import ArtefactError
from support.made_evaluation import EVALUATION, ROW, SCORE


def test_an_evaluation_comes_back_as_it_was(tmp_path):
    write_evaluation(tmp_path, EVALUATION)
    assert read_evaluation(tmp_path) == EVALUATION
    assert read_scores(tmp_path) == [SCORE]
    (tmp_path / "scores.json").unlink()
    assert read_scores(tmp_path) == [SCORE]


def test_another_versions_evaluation_names_the_key(tmp_path):
    written = files.plain(EVALUATION)
    written["scores"][0]["auroc"]["negatives"] = 33
    files.write_json(tmp_path / "evaluation.json", written)
    with pytest.raises(ArtefactError, match=r"evaluation.json: 'scores\[0\].auroc.negatives' is not a key"):
        read_evaluation(tmp_path)


def test_parts_are_found_by_name():
    assert EVALUATION.score("entropy") is SCORE
    assert EVALUATION.samples.of_score("entropy") == [0.5, 0.25]
    assert EVALUATION.summary.row("entropy").measured("auroc") == IntervalRow(0.75, 0.5, 1.0)
    assert EVALUATION.summary.measured("fid_gain") == [ROW] and EVALUATION.summary.row("trace") is None
