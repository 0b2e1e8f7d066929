"""What a study declares: its runs, and errors that say which key is wrong and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from genuq.errors import ConfigurationError
from genuq.studies.declaration import KEYS, read_study
from support.made_study import COMMAND, declare


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
