"""The dashboard of a study: what a dry run prints is what would be sent, and every name in it is one that is logged."""

from __future__ import annotations

import base64
import copy
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
import wandb_workspaces.reports.v2.interface as reports_interface
import wandb_workspaces.workspaces.interface as workspaces_interface
import wandb_workspaces.workspaces.internal as workspaces_internal
import yaml

from genuq.analysis.results import JudgeEntry, RunResults, Summary, SummaryRow
from genuq.cli.dashboard import main
from genuq.cli.main import subcommand
from genuq.errors import ConfigurationError
from genuq.store.records import RunRecord, write_record
from genuq.studies.dashboard_content import Board, board_of, report_of, sections, table, workspace_of

SPEARMAN, NO_GAIN = (-0.1, -0.2, 0.0), (None, None, None)
LINES = [
    SummaryRow("random", "Random", "control", *SPEARMAN, 0.48, 0.4, 0.5, *NO_GAIN),
    SummaryRow("jitter", "Jitter", "control", *SPEARMAN, 0.57, 0.5, 0.6, *NO_GAIN),
    SummaryRow("trace", "Trace", "score", *SPEARMAN, 0.6, 0.5, 0.7, *NO_GAIN),
    SummaryRow("entropy", "Entropy", "score", *SPEARMAN, 0.61, 0.53, 0.7, *NO_GAIN),
]
JUDGE = JudgeEntry("classifier", 64, 5, 512, 512, None, None, True, [])
CONFIG = {
    "seed": 0,
    "study": "sweep",
    "model": {"name": "flow_matching", "head": None},
    "posterior": {"name": "kfac", "temperature": 1.0},
    "likelihood": {"name": "semantic", "extractor": "clip"},
    "score": {"name": "entropy"},
    "trainer": {"devices": 1, "steps": 10},
    "logger": {"name": "wandb", "project": "uncertain"},
}


def record(number: int, **settings: Any) -> RunRecord:
    """A run with the given overrides of groups or `group__key`s."""
    config, choices = copy.deepcopy(CONFIG), {"model": "flow_matching", "posterior": "kfac", "likelihood": "clip"}
    for key, value in settings.items():
        group, _, part = key.partition("__")
        if part:
            config[group][part] = value
        elif isinstance(config[group], dict):
            choices[group] = value
            config[group]["extractor" if group == "likelihood" else "name"] = value
        else:
            config[group] = value
    overrides = tuple(f"{key.replace('__', '.')}={value}" for key, value in settings.items())
    summary = Summary(f"Run {number} says so.", True, True, "realism", LINES)
    return RunRecord(
        study="sweep",
        name=",".join(overrides) or "alone",
        id=f"{number:016x}",
        command="genuq -m study=sweep",
        overrides=overrides,
        choices=choices,
        config=config,
        artefacts={"evaluate": "evaluate/0"},
        seconds={"train": 10.0, "posterior.draws": 2.0, "fit": 2.1, "evaluate": 1.0},
        results=RunResults(summary, JUDGE, {"fid": 1.25, "recall": 0.5}),
        folder=f"../run{number}",
    )


SWEEP = [record(2 * place + seed, posterior=name, seed=seed) for place, name in enumerate("ab") for seed in (0, 1)]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for entry in SWEEP:
        write_record(tmp_path, entry)
    return tmp_path


def board(*records: RunRecord) -> Board:
    return board_of("sweep", records or SWEEP, "us", None)


def printed(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_a_dry_run_prints_the_objects_own_dump(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "sweep", "--store", store, "--entity", "us", "--dry-run")
    dumped = yaml.safe_load(text)
    sent = workspace_of(board())._to_model()
    assert dumped["workspace"]["spec"] == json.loads(sent.spec.model_dump_json(by_alias=True, exclude_none=True))
    sent = report_of(board())._to_model()
    assert dumped["report"]["spec"] == json.loads(sent.spec.model_dump_json(by_alias=True, exclude_none=True))
    assert dumped["workspace"]["entity"] == dumped["report"]["project"]["entityName"] == "us"
    assert dumped["workspace"]["project"] == dumped["report"]["project"]["name"] == "uncertain"
    assert printed(capsys, "sweep", "--store", store, "--entity", "us", "--dry-run") == text


def test_runs_of_the_study_are_grouped_by_posterior_in_both(store: Path) -> None:
    feeds = [workspace_of(board())._to_model().spec.section.run_sets[0]]
    for block in report_of(board())._to_model().spec.blocks:
        if block.type == "panel-grid":
            feeds += block.metadata.run_sets
    assert len(feeds) == 1 + len(sections(board()))
    for feed in feeds:
        assert [(key.section, key.name) for key in feed.grouping] == [("config", "posterior.value.name")]
        (only,) = feed.filters["filters"]
        assert (only["key"]["name"], only["op"], only["value"]) == ("group", "=", "sweep")


@pytest.mark.parametrize(
    ("runs", "grouping"),
    [
        ([{"seed": 0}, {"seed": 1}], []),
        ([{"model": "ddpm"}, {"model": "flow_matching"}], ["model.name"]),
        ([{"likelihood": "clip"}, {"likelihood": "dino"}], ["likelihood.extractor"]),
        ([{"posterior__temperature": 1.0, "seed": 0}, {"posterior__temperature": 2.0}], ["posterior.temperature"]),
        ([{"trainer__devices": 1}, {"trainer__devices": 2}], []),
        ([{"trainer__steps": 1}, {"trainer__steps": 2}], ["trainer.steps"]),
    ],
)
def test_nothing_is_averaged_that_differs_in_more_than_its_seed(runs: list[dict], grouping: list[str]) -> None:
    assert board(*(record(n, **run) for n, run in enumerate(runs))).grouping == ["posterior.name", *grouping]


def test_controls_stand_beside_the_score_and_the_table_names_the_best() -> None:
    assert board().compared == ["entropy", "random", "jitter"]
    lines = table(board()).splitlines()
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|")
    assert "| Entropy | 0.61 [0.53, 0.70] | Jitter 0.57 | −0.10 [−0.20, 0.00] | – | 1.25 |" in lines[2]
    assert len(lines) == 2 + len(SWEEP) + 2


def test_a_declared_study_brings_its_own_table(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    declared = {
        "title": "Which posterior?",
        "question": "Does either find bad samples?",
        "command": "genuq -m study=sweep posterior=a,b seed=0,1",
        "rows": ["posterior"],
        "seeds": "seed",
        "measures": ["fid"],
    }
    folder = store / "experiments" / "which"
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(yaml.safe_dump(declared))
    dumped = yaml.safe_load(printed(capsys, folder, "--store", store, "--dry-run"))
    texts = [block.get("content", "") for block in dumped["report"]["spec"]["blocks"]]
    (own,) = (text for text in texts if "Which posterior?" in text)
    assert "1.25" in own and "Does either find bad samples?" in own and "best control" not in own
    assert dumped["report"]["displayName"] == "genuq: sweep"


def test_cost_is_shown_by_stage() -> None:
    shown = sections(board())["Cost and scale"][0].metrics
    assert shown == ["seconds/train", "seconds/fit", "seconds/evaluate"]


def test_the_report_quotes_every_run_and_its_command() -> None:
    text = "\n".join(getattr(block, "text", "") for block in report_of(board()).blocks if hasattr(block, "text"))
    assert all(f"**{entry.name}**: Run {int(entry.id, 16)} says so." in text for entry in SWEEP)
    assert text.count("genuq -m study=sweep") == 1


def test_panels_of_a_report_do_not_lie_upon_each_other() -> None:
    for block in report_of(board())._to_model().spec.blocks:
        if block.type == "panel-grid":
            taken = set()
            for panel in block.metadata.panel_bank_section_config.panels:
                at = panel.layout
                cells = {(x, y) for x in range(at.x, at.x + at.w) for y in range(at.y, at.y + at.h)}
                assert not cells & taken and at.x + at.w <= 24
                taken |= cells


class Server:
    """What wandb's service remembers of views."""

    def __init__(self) -> None:
        self.views: dict[str, dict[str, Any]] = {}

    def execute(self, api: Any, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "upsertView" in query:
            key = variables.get("id") or base64.b64encode(f"View:{len(self.views)}".encode()).decode()
            self.views[key] = {**variables, "id": key}
            project = {"id": "1", "name": variables["projectName"], "entityName": variables["entityName"]}
            shown = {"id": key, "name": variables["name"], "spec": variables["spec"], "project": project}
            return {"upsertView": {"view": {**shown, "displayName": variables["displayName"]}}}
        if "allViews" in query:
            found = [view for view in self.views.values() if view["name"] == variables["viewName"]]
            return {"project": {"allViews": {"edges": [{"node": dict(view)} for view in found]}}}
        assert "view(id: $reportId)" in query
        view = self.views.get(variables["reportId"])
        project = {"id": "1", "name": "uncertain", "entityName": "us"}
        kept = ("id", "name", "displayName", "description", "spec")
        return {"view": view and {"project": project, **{key: view[key] for key in kept}}}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """An account with a project, on a service that is none."""
    service, url = Server(), "https://wandb.example"
    project = SimpleNamespace(name="uncertain")
    api = SimpleNamespace(default_entity="us", projects=lambda entity: [project])
    monkeypatch.setattr(wandb, "login", lambda **options: True)
    monkeypatch.setattr(wandb, "Api", lambda: api)
    for module in (reports_interface, workspaces_internal):
        monkeypatch.setattr(module, "execute_graphql", service.execute)
    for module in (reports_interface, workspaces_interface):
        monkeypatch.setattr(module, "get_app_url", lambda api: url)
    return service


def test_what_is_sent_is_what_a_dry_run_prints(store: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    dumped = yaml.safe_load(printed(capsys, "sweep", "--store", store, "--entity", "us", "--dry-run"))
    urls = printed(capsys, "sweep", "--store", store).split()
    assert [url.split("?")[0].split("/")[2:5] for url in urls] == [["wandb.example", "us", "uncertain"]] * 2
    sent = {view["type"]: view for view in server.views.values()}
    for kind, name in (("project-view", "workspace"), ("runs", "report")):
        assert json.loads(sent[kind]["spec"]) == dumped[name]["spec"]
        assert (sent[kind]["entityName"], sent[kind]["projectName"]) == ("us", "uncertain")
        assert sent[kind]["displayName"] == dumped[name]["displayName"]


def test_writing_again_writes_over_what_was_written(
    store: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = printed(capsys, "sweep", "--store", store)
    write_record(store, record(9, posterior="c", seed=0))
    assert printed(capsys, "sweep", "--store", store) == urls
    assert len(server.views) == 2 and all(
        "Run 9 says so." in v["spec"] for v in server.views.values() if v["type"] == "runs"
    )
    server.views.clear()  # somebody deleted both
    printed(capsys, "sweep", "--store", store)
    assert len(server.views) == 2


def refused(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    assert subcommand("dashboard", [str(argument) for argument in arguments]) == 2
    return " ".join(capsys.readouterr().err.split())


def test_without_an_account_the_error_says_what_to_do(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    told = refused(capsys, "sweep", "--store", store)
    assert "knows no account here" in told and "wandb login" in told and "WANDB_API_KEY" in told


def test_without_a_network_the_error_says_what_to_do(
    store: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*args: Any) -> Any:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(workspaces_internal, "execute_graphql", unreachable)
    told = refused(capsys, "sweep", "--store", store)
    assert "no route to host" in told and "wandb sync" in told


def test_an_unknown_study_and_one_without_results_are_named(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'sweep'?" in refused(capsys, "sweeep", "--store", store, "--dry-run")
    empty = replace(SWEEP[0], results=None)
    with pytest.raises(ConfigurationError, match="no evaluated run"):
        board(empty)


def test_several_projects_ask_for_a_choice() -> None:
    records = [record(0), record(1, logger__project="other")]
    with pytest.raises(ConfigurationError, match=r"other, uncertain.*--project"):
        board(*records)
    assert board_of("sweep", records, "us", "other").project == "other"


def test_the_entity_is_that_of_the_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(tmp_path, record(0, logger__entity="team"))
    assert yaml.safe_load(printed(capsys, "sweep", "--store", tmp_path, "--dry-run"))["workspace"]["entity"] == "team"


def test_without_the_package_the_error_says_what_to_install(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert "pip install 'genuq[dashboard]'" in refused(capsys, "sweep", "--store", store, "--dry-run")
