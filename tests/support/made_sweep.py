"""Records of a sweep over two posteriors and two seeds, written by hand."""

from __future__ import annotations

import copy
from typing import Any

from genuq.analysis.evaluation_entries import JudgeEntry, Summary, SummaryRow
from genuq.analysis.results import RunResults
from genuq.store.records import RunRecord
from genuq.studies.dashboard_content import Board, board_of

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


def board(*records: RunRecord) -> Board:
    return board_of("sweep", records or SWEEP, "us", None)
