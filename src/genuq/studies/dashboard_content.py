"""A study's workspace and report on Weights & Biases: the same sections of panels in both, runs grouped by posterior.

The runs themselves are there once they are logged (`logger=wandb`) and uploaded. What is written here is made of the
study's records alone, and is the same whenever it is made.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from genuq.analysis.evaluation_entries import SummaryRow
from genuq.analysis.score_entries import IntervalRow
from genuq.config.neutral import ELSEWHERE, is_neutral
from genuq.errors import ConfigurationError
from genuq.files import looked_up
from genuq.report.drawing.markdown import code_block, prose, table_lines
from genuq.report.drawing.values import DASH, decimals, interval
from genuq.report.drawing.vocabulary import METRICS, target_words
from genuq.store.artefact import fingerprint
from genuq.store.records import RunRecord
from genuq.tracking.wandb_names import AT_RANDOM, FRACTION, KEPT, SAMPLES, SECONDS, STEP, loss_of

POSTERIOR = "posterior.name"
CHOICES = ("trainer", "experiment")  # groups whose options are recipes, not settings to group by
COLUMNS, WIDTH, HEIGHT = 24, 12, 8  # of a report's grid, and of one panel in it
SHOWN_RUNS = 100  # wandb runs in one panel
TITLE_LENGTH = 128  # of a report, in characters


@dataclass(frozen=True)
class Board:
    """What a dashboard shows.

    Attributes:
        study: the group of its runs.
        entity, project: where they lie.
        records: of the evaluated runs.
        declared: the table that the study itself declares, in Markdown; empty where it declares none.
    """

    study: str
    entity: str
    project: str
    records: tuple[RunRecord, ...]
    declared: str = ""

    @cached_property
    def metrics(self) -> list[str]:
        """Set-level metrics that any run has."""
        return [name for name in METRICS if any(name in record.evaluated.numbers for record in self.records)]

    @cached_property
    def lines(self) -> dict[str, SummaryRow]:
        """The summary's lines of all runs by the score's name: those that runs are about first, then as they come."""
        own = [record.config["score"]["name"] for record in self.records]
        found = {line.score: line for record in self.records for line in record.evaluated.summary.table}
        return {name: found[name] for name in dict.fromkeys([*own, *found])}

    @cached_property
    def compared(self) -> list[str]:
        """Scores in the panels: those that the runs are about, and the controls, without which no claim holds."""
        own = {record.config["score"]["name"] for record in self.records}
        return [name for name, line in self.lines.items() if name in own or line.kind == "control"]

    @cached_property
    def target(self) -> str:
        """What the Spearman correlations of the summaries are with."""
        found = {record.evaluated.summary.spearman_target for record in self.records}
        return " or ".join(target_words(name) for name in sorted(filter(None, found)))

    @cached_property
    def stages(self) -> list[str]:
        """Those that any run took time for; posteriors, which have their own, are part of one."""
        timed = (name for record in self.records for name in record.seconds if "." not in name)
        return list(dict.fromkeys(timed))

    @cached_property
    def grouping(self) -> list[str]:
        """Keys of the configuration by which runs are grouped: the posterior, and all else that was varied but seeds,
        so that nothing is averaged that differs in more than its seed.
        """
        choices = [name for record in self.records for name in record.choices]
        overrides = [text.lstrip("+~").split("=", 1)[0] for record in self.records for text in record.overrides]
        keys = [self._leaf(name) for name in dict.fromkeys([*choices, *overrides])]
        varied = [key for key in keys if key and len({repr(looked_up(r.config, key)) for r in self.records}) > 1]
        return list(dict.fromkeys([POSTERIOR, *varied]))

    def _leaf(self, key: str) -> str | None:
        """The key itself, or of a group the first of its keys in which every one of its options differs."""
        if key in (*ELSEWHERE, *CHOICES) or is_neutral(key) or "@" in key:
            return None
        group = [looked_up(record.config, key) for record in self.records]
        if not all(isinstance(entry, Mapping) for entry in group):
            return key
        options = {record.choices.get(key) for record in self.records}
        parts = dict.fromkeys(["name", *(part for entry in group for part in entry)])
        telling = (part for part in parts if len({repr(entry.get(part)) for entry in group}) >= len(options) > 1)
        return next((f"{key}.{part}" for part in telling), None)


def board_of(study: str, records: Iterable[RunRecord], entity: str, project: str | None, declared: str = "") -> Board:
    """The board of a study's evaluated runs.

    Raises:
        ConfigurationError: there are none, or they lie in several projects and none was chosen.
    """
    evaluated = tuple(record for record in records if record.results is not None)
    if not evaluated:
        raise ConfigurationError(f"Study '{study}' has no evaluated run yet: add the stage evaluate to its runs.")
    projects = sorted({chosen for record in evaluated if (chosen := record.config["logger"].get("project"))})
    if project is None and not projects:
        raise ConfigurationError(
            f"No run of '{study}' was logged to Weights & Biases: run it with logger=wandb, or say with --project "
            "where its runs lie."
        )
    if project is None and len(projects) > 1:
        raise ConfigurationError(
            f"The runs of '{study}' lie in several projects ({', '.join(projects)}): choose one with --project."
        )
    return Board(study, entity, project or projects[0], evaluated, declared)


# ---- panels


def sections(board: Board) -> dict[str, list[Any]]:
    """Panels by the name of their section."""
    import wandb_workspaces.reports.v2 as wr

    def bars(title: str, metrics: Sequence[str], unit: str = "") -> Any:
        return wr.BarPlot(title=title, metrics=list(metrics), title_x=unit or None, max_runs_to_show=SHOWN_RUNS)

    def measure(title: str, name: str) -> Any:
        return bars(title, [f"{score}/{name}" for score in board.compared])

    curves = [
        wr.LinePlot(
            title=f"{METRICS[metric].label} of the samples kept, {METRICS[metric].direction}",
            x=FRACTION,
            y=[f"{KEPT}/{metric}", f"{KEPT}/{metric}{AT_RANDOM}"],
            title_x="fraction kept",
            max_runs_to_show=SHOWN_RUNS,
        )
        for metric in board.metrics
    ]
    agreement = [
        measure("AUROC of bad samples, chance is 0.5", "auroc"),
        measure(f"Spearman correlation with {board.target}" if board.target else "Spearman correlation", "spearman"),
        measure("Area between the FID curve and random, positive is better", "fid_gain"),
        measure("AUSE, 0 is perfect", "ause"),
    ]
    cost = [
        bars("Time of each stage", [f"{SECONDS}/{stage}" for stage in board.stages], "seconds"),
        bars("Size of the draws", ["posterior/relative_perturbation"], "relative to the weights"),
    ]
    found = {
        "Filtering": curves,
        "Does the score find bad samples?": agreement,
        "Samples": [wr.WeavePanelSummaryTable(table_name=SAMPLES)],
        "Cost and scale": cost,
    }
    if "train" in board.stages:
        found["Training"] = [wr.LinePlot(title="Loss", x=STEP, y=[loss_of("model")])]
    return found


def identified(board: Board, where: str, panels: Mapping[str, list[Any]]) -> Mapping[str, list[Any]]:
    """The panels under ids that stay the same, where the package would draw them at random."""
    for section, entries in panels.items():
        for place, panel in enumerate(entries):
            panel._id = identifier(board, where, section, place)
    return panels


def identifier(board: Board, *place: Any) -> str:
    return fingerprint({"study": board.study, "place": place})[:12]


# ---- workspace


def workspace_of(board: Board) -> Any:
    """The workspace, as an object of wandb-workspaces."""
    import wandb_workspaces.workspaces as ws

    score = board.compared[0]
    workspace = ws.Workspace(
        entity=board.entity,
        project=board.project,
        name="".join(c if unicodedata.category(c)[0] != "S" else "-" for c in f"genuq {board.study}"),
        sections=[
            ws.Section(name=name, panels=panels, is_open=True)
            for name, panels in identified(board, "workspace", sections(board)).items()
        ],
        settings=ws.WorkspaceSettings(max_runs=SHOWN_RUNS),
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("Group") == board.study],
            groupby=[ws.Config(key) for key in board.grouping],
            order=[ws.Ordering(ws.Metric("Name"), ascending=True)],
            pinned_columns=[f"summary:{score}/auroc", f"summary:{score}/fid_gain", "summary:sentence"],
        ),
    )
    workspace._internal_runset_id = identifier(board, "workspace")
    return workspace


# ---- report


def report_of(board: Board) -> Any:
    """The report, as an object of wandb-workspaces: what each run says, the table, the panels, the commands."""
    import wandb_workspaces.reports.v2 as wr

    commands = list(dict.fromkeys(record.command for record in board.records))
    blocks: list[Any] = [
        wr.MarkdownBlock(text=introduction(board)),
        wr.TableOfContents(),
        wr.H2(text="What the runs say"),
        wr.MarkdownBlock(text=sentences(board)),
        wr.H2(text="Table"),
        wr.MarkdownBlock(text=board.declared or table(board)),
    ]
    for section, panels in identified(board, "report", sections(board)).items():
        laid_out(panels)
        blocks += [wr.H2(text=section), wr.PanelGrid(runsets=[runset_of(board, section)], panels=panels)]
    blocks += [wr.H2(text="Commands"), wr.MarkdownBlock(text=code_block(commands))]
    return wr.Report(
        entity=board.entity,
        project=board.project,
        title=f"genuq: {board.study}"[:TITLE_LENGTH],
        description=f"{len(board.records)} runs, grouped by {', '.join(board.grouping)}",
        blocks=blocks,
        width="fluid",
    )


def runset_of(board: Board, section: str) -> Any:
    """The study's runs. Without entity and project they are those of the report's own project."""
    import wandb_workspaces.reports.v2 as wr
    from wandb_workspaces import expr

    runset = wr.Runset(
        name=board.study,
        filters=[expr.Metric("Group") == board.study],
        groupby=[f"config.{key}" for key in board.grouping],
        order=[wr.OrderBy("Name", ascending=True)],
    )
    runset._id = identifier(board, "runset", section)
    return runset


def laid_out(panels: Sequence[Any]) -> None:
    """Two panels a row; one alone takes the whole of it."""
    import wandb_workspaces.reports.v2 as wr

    width = WIDTH if len(panels) > 1 else COLUMNS
    for place, panel in enumerate(panels):
        row, column = divmod(place, COLUMNS // width)
        panel.layout = wr.Layout(x=column * width, y=row * HEIGHT, w=width, h=HEIGHT)


def introduction(board: Board) -> str:
    posteriors = sorted({str(looked_up(record.config, POSTERIOR)).replace("_", " ") for record in board.records})
    judges = sorted({record.evaluated.judge.extractor for record in board.records})
    return (
        f"{len(board.records)} runs of the study **{prose(board.study)}**. Posteriors: {prose(', '.join(posteriors))}. "
        f"Judged by: {prose(', '.join(judges))}. Bars and curves are means over what is grouped: runs that differ only "
        "in their seed. A score that does not beat the controls beside it has found nothing about the model."
    )


def sentences(board: Board) -> str:
    return "\n".join(
        f"- **{prose(record.name)}**: {prose(record.evaluated.summary.sentence or DASH)}" for record in board.records
    )


def table(board: Board) -> str:
    """A row a run, in Markdown: what its score measured, and the best control's AUROC."""
    headings = ["run", "score", "AUROC", "best control", f"Spearman with {board.target}", "FID gain", "FID"]
    lines = table_lines(headings, map(_row, board.records))
    return "\n".join([*lines, "", "95 % intervals of each run in brackets."])


def _row(record: RunRecord) -> list[str]:
    table = record.evaluated.summary.table
    own = next(line for line in table if line.score == record.config["score"]["name"])
    controls = [(line.auroc, line.label) for line in table if line.kind == "control" and line.auroc is not None]
    best = max(controls, key=lambda control: control[0], default=None)
    return [
        record.name,
        own.label,
        _cell(own.measured("auroc")),
        f"{best[1]} {decimals(best[0])}" if best else DASH,
        _cell(own.measured("spearman")),
        _cell(own.measured("fid_gain")),
        decimals(record.evaluated.numbers.get("fid")),
    ]


def _cell(measured: IntervalRow) -> str:
    known = interval(measured.low, measured.high) if measured.value is not None else ""
    return f"{decimals(measured.value)} {known}".strip()
