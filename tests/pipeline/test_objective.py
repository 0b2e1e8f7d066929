"""The number that a search is about: refused before the work, read off the finished run."""

from __future__ import annotations

from pathlib import Path

import pytest

from genuq import files
from genuq.errors import ArtefactError, ConfigurationError
from genuq.pipeline.objective import check_objective, value_of
from genuq.pipeline.run import Run
from support.small_runs import POINTS, composed, copied, run_of


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("entropy/auc", "Did you mean 'entropy/auroc'"),
        ("complexity/auroc", "of the columns entropy, .*random"),
        ("auroc", "Known: fid, .* the measures auroc, "),
    ],
)
def test_objectives_that_no_evaluation_has_are_refused_before_the_work(
    objective: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=rf"objective = '{objective}'.*{said}"):
        check_objective(Run(composed(*POINTS, f"objective={objective}"), tmp_path, "genuq"))


def test_an_oracle_has_an_objective_for_each_fault(tmp_path: Path) -> None:
    by_fault = [*POINTS, "objective=entropy/auroc_of_interpolated"]
    check_objective(Run(composed(*by_fault, "metric.truth=oracle"), tmp_path, "genuq"))
    with pytest.raises(ConfigurationError, match="is no number of this run's evaluation"):
        check_objective(Run(composed(*by_fault), tmp_path, "genuq"))


def test_an_objective_needs_the_evaluation(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="add the stage evaluate"):
        check_objective(Run(composed(*POINTS, "objective=fid", "stages=[train,fit]"), tmp_path, "genuq"))


def test_every_objective_is_a_number_that_runs_have(points_run: Path) -> None:
    run = run_of(points_run, *POINTS)
    for measure in ("auroc", "ause", "spearman", "evaluations", "fid_gain", "coverage_gain"):
        config = composed(*POINTS, f"objective=entropy/{measure}")
        check_objective(Run(config, points_run, "genuq"))
        assert isinstance(value_of(config, run.folder), float)
    assert value_of(composed(*POINTS), points_run) is None


def test_what_could_not_be_computed_is_no_objective(points_run: Path, tmp_path: Path) -> None:
    folder = copied(points_run, tmp_path / "run")
    path = folder / "evaluate" / "evaluation.json"
    evaluation = files.read_json(path)
    evaluation["summary"]["table"][0]["auroc"] = None
    files.write_json(path, evaluation)
    with pytest.raises(ArtefactError, match=r"objective = 'entropy/auroc' could not be computed"):
        value_of(composed(*POINTS, "objective=entropy/auroc"), folder)
