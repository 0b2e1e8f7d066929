"""The command `genuq dashboard`: writes a study's workspace and report to Weights & Biases.

The study's runs must have been logged with logger=wandb, and uploaded if they were logged offline.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from genuq import files
from genuq.errors import ConfigurationError, GenuqError, did_you_mean
from genuq.report.study.text import table_markdown
from genuq.store.records import RUNS, RunRecord, read_records, studies_in
from genuq.store.scales import at_scale
from genuq.studies.collect import table_of
from genuq.studies.dashboard_content import Board, report_of, workspace_of
from genuq.studies.declaration import FILE, read_study
from genuq.studies.grid import matched
from genuq.studies.scales import chosen_scale

YOURS = "(your default entity)"  # stands for an entity that only an account knows
ACCOUNT = (
    "Log in with `wandb login`, or set WANDB_API_KEY, where there is a network; --dry-run prints what would be "
    "written and needs neither."
)


def read(study: str, store: Path) -> tuple[str, list[RunRecord], str]:
    """Name, runs and declared table of a study, given by its name or by its folder with a study.yaml."""
    declared = read_study(study) if os.path.isfile(Path(study) / FILE) else None
    name = declared.name if declared else study
    scale = chosen_scale(store, name)
    name = at_scale(name, scale)
    records = read_records(store, name)
    if not records:
        known = did_you_mean(name, studies_in(store))
        raise ConfigurationError(f"{store} has no runs of a study '{name}'.{known}")
    if declared is None:
        return name, records, ""
    return name, records, table_markdown(table_of(declared, matched(declared.jobs, records, store), store, scale))


def entity_of(records: Sequence[RunRecord]) -> str | None:
    """Where the runs were logged to, if they say."""
    return next((entity for record in records if (entity := record.config["logger"].get("entity"))), None)


def require_package() -> None:
    try:
        import wandb_workspaces  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"genuq dashboard needs the package wandb-workspaces ({error}): pip install 'genuq[dashboard]'."
        ) from error


def specification(board: Board) -> str:
    """What would be written, as YAML: the models that the package sends, with its names of the fields."""
    workspace, report = workspace_of(board)._to_model(), report_of(board)._to_model()
    models = {"workspace": workspace, "report": report}
    whole = {name: model.model_dump(mode="json", by_alias=True, exclude_none=True) for name, model in models.items()}
    return yaml.dump(whole, Dumper=Readable, sort_keys=False, allow_unicode=True, width=120)


class Readable(yaml.SafeDumper):
    """Text of several lines as it is."""


def _text(dumper: Readable, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Readable.add_representer(str, _text)


def default_entity() -> str:
    """The entity of whoever is logged in.

    Raises:
        ConfigurationError: nobody is, or there is no network.
    """
    import wandb

    return str(asking_wandb(lambda: wandb.Api().default_entity))


def written(board: Board, store: Path) -> dict[str, str]:
    """Write the workspace and the report, over those that this command wrote before; returns their addresses."""
    place = store / RUNS / f"{board.study}.dashboard.json"
    known = files.read_json(place) if place.exists() else {}
    urls = known.get(f"{board.entity}/{board.project}", {})
    found = {
        "workspace": asking_wandb(lambda: write_workspace(board, urls.get("workspace"))),
        "report": asking_wandb(lambda: write_report(board, urls.get("report"))),
    }
    files.write_json(place, known | {f"{board.entity}/{board.project}": found})
    return found


def write_workspace(board: Board, url: str | None) -> str:
    import wandb_workspaces.workspaces as ws

    workspace = workspace_of(board)
    if url and (old := still_there(ws.Workspace, url)) is not None:
        workspace._internal_name, workspace._internal_id = old._internal_name, old._internal_id
    return str(workspace.save().url)


def write_report(board: Board, url: str | None) -> str:
    import wandb_workspaces.reports.v2 as wr

    report = report_of(board)
    if url and (old := still_there(wr.Report, url)) is not None:
        report.id = old.id
    return str(report.save().url)


def still_there(kind: Any, url: str) -> Any:
    """What was written at an address before; None where somebody has deleted it."""
    try:
        return kind.from_url(url)
    except (ValueError, TypeError):  # the second where the package reads a report out of nothing
        return None


def asking_wandb(ask: Any) -> Any:
    """What wandb answers.

    Raises:
        ConfigurationError: there is no account, no network, or no such project.
    """
    import wandb

    try:
        if not wandb.login(prompt=False, verify=False):
            raise ConfigurationError(f"wandb knows no account here. {ACCOUNT}")
        return ask()
    except GenuqError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigurationError(
            f"wandb could not be asked ({reason}). {ACCOUNT} The project must be there: upload the runs first with "
            "`wandb sync FOLDER/logs/wandb/offline-run-*`."
        ) from error
