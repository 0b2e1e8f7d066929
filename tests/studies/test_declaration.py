"""What a study declares: its runs, and errors that say which key is wrong and what would be right."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from genuq.errors import ArtefactError, ConfigurationError
from genuq.store.records import record_path, write_record
from genuq.studies.declaration import KEYS, read_study
from genuq.studies.grid import comparable, matched, parsed
from support.made_study import COMMAND, declare, make_runs, record


def study_of(folder, **changes):
    return read_study(declare(folder, **changes))


class TestDeclaration:
    def test_every_run_of_the_sweep_is_expected_once_in_its_order(self, tmp_path):
        jobs = study_of(tmp_path).jobs
        assert len(jobs) == 2 * 3 * 2 * 3
        assert (jobs[0].row, jobs[0].column, jobs[0].seed) == (("ddpm", "exact_laplace"), "pixel", "0")
        assert jobs[-1].command == (
            "genuq study=posteriors model=flow_matching posterior=swag likelihood=semantic seed=2 sampler.samples=512"
        )

    def test_a_run_made_alone_is_recorded_under_the_study(self, tmp_path):
        for name in ("mine", "my own", "a,b=c"):
            study = study_of(tmp_path, study=name, command=COMMAND.replace("study=posteriors ", ""))
            alone = study_of(tmp_path / "alone", command=study.jobs[0].command)
            assert (alone.name, alone.jobs) == (name, study.jobs[:1])

    def test_a_study_of_several_commands_has_the_runs_of_all(self, tmp_path):
        further = "genuq -m likelihood=pixel posterior=isotropic,kfac model=ddpm seed=0,1 sampler.samples=512"
        jobs = study_of(tmp_path, command=[COMMAND, further]).jobs
        assert len(jobs) == 36 + 2  # those of kfac are asked for twice

    @pytest.mark.parametrize(
        "changes, name",
        [({}, "posteriors"), ({"study": "mine"}, "mine"), ({"command": "genuq model=a posterior=b"}, "it")],
    )
    def test_runs_are_sought_under_the_declared_name_else_the_commands_else_the_folders(self, tmp_path, changes, name):
        rest = {"columns": None, "seeds": None} if "command" in changes else {}
        assert study_of(tmp_path / "it", **changes, **rest).name == name

    @pytest.mark.parametrize(
        "changes, message",
        [
            ({"titel": "x"}, "'titel' is not a key of a study. Did you mean 'title'"),
            ({"title": None}, "title is missing"),
            ({"question": 3}, "question = 3; give text"),
            ({"measures": []}, "measures is missing"),
            ({"rows": "model"}, "rows = 'model'; give a list"),
            ({"rows": ["model", 3]}, "rows = "),
            ({"rows": ["model", "posterier"]}, "'posterier' is not set by the command.*Did you mean 'posterior'"),
            ({"rows": ["model"]}, r"sweeps posterior=exact_laplace,kfac,swag.*\[model, posterior\]"),
            ({"seeds": None}, "sweeps seed=0,1,2"),
            ({"rows": ["model", "posterior", "seed"]}, "'seed' stands twice"),
            ({"columns": "metric"}, "columns: 'metric' is not set"),
            ({"within": ["likelihood"]}, "within: 'likelihood' is not one of the rows"),
            ({"measures": ["fid", "fid"]}, "'fid' stands there twice"),
            ({"measures": [{"label": "x"}]}, "has no name"),
            ({"measures": [{"name": "fid", "bettr": "lower"}]}, "'bettr' is not a key of a measure. Did"),
            ({"measures": [{"name": "fid", "better": "up"}]}, "better = 'up' of 'fid'; give higher or lower"),
            ({"measures": [{"name": "fid", "digits": -1}]}, "digits = -1 of 'fid'"),
            ({"published": ["diff_uq"]}, "published: 'diff_uq' is not in published.yaml.*Did you mean"),
            ({"command": "python train.py"}, "does not begin with genuq"),
            ({"command": "genuq 'model=a"}, "cannot be read"),
            ({"command": COMMAND.replace("-m ", "")}, "sweeps without -m"),
            ({"command": [COMMAND, COMMAND.replace("study=posteriors", "study=b")]}, "several studies: b, posteriors"),
            ({"command": [COMMAND, COMMAND.replace("=512", "=64")]}, "Two runs would stand in one cell"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said_with_its_remedy(self, tmp_path, changes, message):
        with pytest.raises(ConfigurationError, match=f"study.yaml: .*{message}"):
            study_of(tmp_path, **changes)

    def test_a_folder_without_the_file_or_with_a_broken_one_is_named(self, tmp_path):
        with pytest.raises(ConfigurationError, match=r"study.yaml does not exist"):
            read_study(tmp_path)
        for text, message in (("title: [", "is not YAML"), ("- a", "holds no keys"), ("", "holds no keys")):
            (tmp_path / "study.yaml").write_text(text)
            with pytest.raises(ConfigurationError, match=message):
                read_study(tmp_path)


def test_the_documented_study_is_one(tmp_path):
    page = (Path(__file__).parents[2] / "experiments" / "README.md").read_text()
    (tmp_path / "study.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])
    study = read_study(tmp_path)
    assert (study.name, len(study.jobs), len(study.published)) == ("posteriors", 2 * 3 * 2 * 5, 1)
    keys = yaml.safe_load((tmp_path / "study.yaml").read_text())
    assert set(keys) == set(KEYS) - {"study"}  # which the command gives


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
