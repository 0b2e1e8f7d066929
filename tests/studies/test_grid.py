"""The runs that a study asks for, and which record is of which."""

from __future__ import annotations

import os

import pytest

from genuq.errors import ArtefactError
from genuq.store.records import record_path, write_record
from genuq.studies.declaration import read_study
from genuq.studies.grid import comparable, matched, parsed
from support.made_study import declare, make_runs, record


def study_of(folder, **changes):
    return read_study(declare(folder, **changes))


@pytest.mark.parametrize(
    "typed, resolved",
    [("1", 1), ("1", 1.0), ("1e-3", 0.001), ("kfac", "kfac"), ("'a b'", "a b"), ("null", None), ("true", True),
     ("[1,2.0]", [1.0, 2]), ("[a,b]", ["a", "b"]), ("{a:1}", {"a": 1.0})],
)  # fmt: skip
def test_what_was_typed_equals_what_was_resolved(typed, resolved):
    assert comparable(parsed(typed)) == comparable(resolved)


@pytest.mark.parametrize("one, other", [("1", "true"), ("1", "1.5"), ("[1]", "1"), ("a", "b"), ("null", "0")])
def test_other_values_are_other(one, other):
    assert comparable(parsed(one)) != comparable(parsed(other))


class TestMatching:
    def test_every_run_is_found(self, tmp_path):
        runs, study = make_runs(tmp_path), study_of(tmp_path / "s")
        found = matched(study.jobs, runs, tmp_path)
        assert len(found.runs) == 36 and not found.earlier and not found.strangers
        for job, run in found.runs.items():
            assert job.row == (run.choices["model"], run.choices["posterior"])
            assert (job.column, job.seed) == (run.choices["likelihood"], str(run.config["seed"]))

    def test_a_run_that_was_made_alone_counts_by_what_it_resolved_to(self, tmp_path):
        run = record({"model": "ddpm", "posterior": "kfac", "likelihood": "pixel"}, 1, overrides=())
        found = matched(study_of(tmp_path).jobs, [run], tmp_path)
        assert [(job.row, job.seed) for job in found.runs] == [(("ddpm", "kfac"), "1")]

    @pytest.mark.parametrize("typed", [(), ("propagator=none",), ("propagator=trajectory",)])
    def test_a_run_that_chose_no_propagator_is_the_one_that_chose_none(self, tmp_path, typed):
        command = "genuq -m study=posteriors propagator=none,trajectory application=none seed=0"
        study = study_of(tmp_path, command=command, rows=["propagator"], columns=None, seeds="seed")
        chosen = "trajectory" if "propagator=trajectory" in typed else None
        run = record({"propagator": chosen, "application": None}, 0, overrides=typed)
        found = matched(study.jobs, [run], tmp_path)
        assert [job.row for job in found.runs] == [(chosen or "none",)]

    @pytest.mark.parametrize(
        "changes",
        [
            {"overrides": ("sampler.samples=64",)},
            {"config": {"seed": 1, "sampler": {"samples": 64}}},
            {"config": {"seed": 1}},
        ],
    )
    def test_a_run_of_other_settings_is_a_stranger(self, tmp_path, changes):
        choices = {"model": "ddpm", "posterior": "kfac", "likelihood": "pixel"}
        run = record(choices, 1, **{"overrides": ()} | changes)
        found = matched(study_of(tmp_path).jobs, [run], tmp_path)
        assert found.strangers == [run] and not found.runs

    def test_a_run_without_results_is_still_missing(self, tmp_path):
        run = record({"model": "ddpm", "posterior": "kfac", "likelihood": "pixel"}, 1, results=None)
        found = matched(study_of(tmp_path).jobs, [run], tmp_path)
        assert not found.runs and not found.strangers

    def test_of_two_records_of_a_job_the_last_counts(self, tmp_path):
        choices = {"model": "ddpm", "posterior": "kfac", "likelihood": "pixel"}
        runs = [record(choices, 1), record(choices, 1, id="f" * 16)]
        for run, when in zip(runs, (2000, 1000)):
            os.utime(write_record(tmp_path, run), (when, when))
        found = matched(study_of(tmp_path / "s").jobs, runs, tmp_path)
        assert list(found.runs.values()) == [runs[0]] and found.earlier == [runs[1]]
        os.utime(record_path(tmp_path, "posteriors", "f" * 16), (2000, 2000))
        with pytest.raises(ArtefactError, match="records of the same run"):
            matched(study_of(tmp_path / "s").jobs, runs, tmp_path)
