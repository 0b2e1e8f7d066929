"""Records of runs come back as they were written, and a broken one is named."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from genuq.analysis.evaluation_entries import JudgeEntry, Summary, SummaryRow
from genuq.analysis.results import RunResults
from genuq.errors import ArtefactError, ConfigurationError
from genuq.store.records import RunRecord, read_records, studies_in, write_record

RECORD = RunRecord(
    study="posteriors",
    name="posterior=kfac,seed=1",
    id="0123456789abcdef",
    command="genuq -m posterior=kfac,swag seed=0,1",
    overrides=("posterior=kfac", "seed=1"),
    choices={"posterior": "kfac"},
    config={"seed": 1, "sampler": {"steps": 20}},
    artefacts={"evaluate": "evaluate/aa"},
    seconds={"evaluate": 1.5},
    results=RunResults(
        Summary("It does.", True, None, None, [SummaryRow("entropy", "E", "score", *[None] * 3, 0.61, *[None] * 5)]),
        JudgeEntry("classifier", 64, 5, 512, 512, 0.9, None, True, []),
        {"entropy/auroc": 0.61, "fid": None},
    ),
)


def another(**changes) -> RunRecord:
    return dataclasses.replace(RECORD, **changes)


def test_records_come_back_as_they_were_written_sorted_by_name(tmp_path):
    first = another(name="posterior=exact,seed=0", id="f" * 16)
    written = [write_record(tmp_path, record) for record in (RECORD, first)]
    assert read_records(tmp_path, "posteriors") == [first, RECORD]
    assert written[0] == tmp_path / "runs" / "posteriors" / "0123456789abcdef.json"


def test_a_study_has_its_own_runs_only(tmp_path):
    other = another(study="other", name="a")
    for record in (RECORD, other):
        write_record(tmp_path, record)
    assert read_records(tmp_path, "other") == [other]
    assert read_records(tmp_path) == [other, RECORD]
    assert studies_in(tmp_path) == ["other", "posteriors"]
    assert read_records(tmp_path, "never run") == [] == read_records(tmp_path / "nowhere")


def test_the_same_run_made_again_is_one_record(tmp_path):
    write_record(tmp_path, another(seconds={}))
    write_record(tmp_path, RECORD)
    assert read_records(tmp_path) == [RECORD]


def test_numbers_that_are_none_are_stored_as_none(tmp_path):
    numbers = {"fid": math.nan, "precision": math.inf}
    write_record(tmp_path, another(results=dataclasses.replace(RECORD.results, numbers=numbers)))
    assert read_records(tmp_path)[0].results.numbers == {"fid": None, "precision": None}


def test_a_run_that_was_not_evaluated_has_no_results(tmp_path):
    path = write_record(tmp_path, another(results=None))
    assert json.loads(path.read_text())["results"] == {}
    assert read_records(tmp_path) == [another(results=None)]


def test_results_of_another_form_name_the_key(tmp_path):
    path = write_record(tmp_path, RECORD)
    entry = json.loads(path.read_text())
    entry["results"]["judge"]["k"] = "five"
    path.write_text(json.dumps(entry))
    with pytest.raises(ArtefactError, match=rf"{RECORD.id}.*'results.judge.k' is a str, not a int"):
        read_records(tmp_path)


@pytest.mark.parametrize("broken", ['{"study": "posteri', "[]", '{"study": 1}', "\x00\xff"])
def test_a_broken_record_is_named(tmp_path, broken):
    path = write_record(tmp_path, RECORD)
    path.write_text(broken)
    with pytest.raises(ArtefactError, match=RECORD.id):
        read_records(tmp_path)


@pytest.mark.parametrize("key, value", [("results", []), ("overrides", {}), ("name", None)])
def test_a_record_of_other_types_names_the_key(tmp_path, key, value):
    path = write_record(tmp_path, RECORD)
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ArtefactError, match=f"'{key}' is a"):
        read_records(tmp_path)


@pytest.mark.parametrize("study", ["../other", "", "a/b", ".hidden", "s" * 201])
def test_a_study_that_can_be_no_folder_is_refused(tmp_path, study):
    with pytest.raises(ConfigurationError, match=r"study = .* names a folder"):
        write_record(tmp_path, another(study=study))


def test_an_id_of_another_form_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="16 hexadecimal digits"):
        write_record(tmp_path, another(id="../../etc"))
