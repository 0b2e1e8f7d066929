"""The dashboard of a study: what a dry run prints is what would be sent, and every name in it is one that is logged."""

from __future__ import annotations

import base64
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

from genuq.cli.dashboard import main
from genuq.cli.main import subcommand
from genuq.errors import ConfigurationError
from genuq.store.records import write_record
from support.made_sweep import SWEEP, board, record


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for entry in SWEEP:
        write_record(tmp_path, entry)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


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


def test_without_the_package_the_error_says_what_to_install(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert "pip install 'genuq[dashboard]'" in refused(capsys, "sweep", "--store", store, "--dry-run")
