"""A study that never happened, as plain data, of which `typed` makes what `build_study` gives: runs of `made_run`."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any

import numpy as np

from genuq.entries import from_json
from genuq.files import plain
from genuq.report.study.runs import StudyRuns
from support.made_run import SCORES, make_images, make_points, make_results

FEW = [SCORES[index] for index in (0, 2, 5, 6, 8)]


def weaker(entries: list[tuple], factor: float) -> list[tuple]:
    """The same scores with less skill."""
    return [(name, label, kind, skill * factor, cost) for name, label, kind, skill, cost in entries]


def made_entry(name: str, values: list[str], seed: int, results: dict, images: np.ndarray | None) -> dict[str, Any]:
    """One run of the study from the results of a run."""
    return {
        "name": name,
        "id": f"{seed:016x}",
        "command": "genuq -m posterior=kfac,swag seed=0,1",
        "values": values,
        "seed": seed,
        "score": results["scores"][0]["name"],
        "summary": {
            **results["summary"],
            "beats_controls": results["scores"][0]["auroc"]["value"] > 0.8,
            "spearman_target": "realism",
        },
        "judge": results["judge"],
        "seconds": 40.0 + 7 * seed + 100 * len(values[0]),
        "report": f"../../store/report/{seed}{values[0]}/index.html" if seed == 0 else None,
        "missing": [],
        "evaluations": {score["name"]: score["evaluations_per_sample"] for score in results["scores"]},
        "curves": {score["name"]: score["curves"] for score in results["scores"]},
        "samples": results["samples"],
        "samples_total": len(results["samples"]["rows"]),
        "images": images,
    }


def make_study(
    choices: dict[str, list[str]], seeds: int, samples: int = 64, entries: list[tuple] = FEW, points: bool = False
) -> dict[str, Any]:
    """Every combination of the choices under each seed; the first value of each choice has the most skilful scores."""
    runs = []
    for places in itertools.product(*(range(len(values)) for values in choices.values())):
        values = [options[place] for options, place in zip(choices.values(), places)]
        for seed in range(seeds):
            made, bad, classes = make_results(samples, 1, weaker(entries, 0.75 ** sum(places)), seed=seed)
            images = make_points(bad, 1)[0] if points else make_images(bad, classes, 1)[0]
            text = ",".join(f"{key}={value}" for key, value in [*zip(choices, values), ("seed", seed)])
            runs.append(made_entry(text, values, seed, copy.deepcopy(made), images))
    return {
        "name": "posteriors",
        "question": None,
        "commands": ["genuq -m posterior=kfac,swag seed=0,1"],
        "page_command": "genuq study posteriors",
        "genuq_version": "0.1.0",
        "keys": list(choices),
        "runs": runs,
        "absent": [],
        "asked": None,
        "unevaluated": [],
        "left_out": [],
        "samples_shown": samples,
        "samples_total": samples,
    }


def typed(study: dict[str, Any]) -> StudyRuns:
    """The study as its page takes it."""
    images = [run["images"] for run in study["runs"]]
    found = from_json(StudyRuns, plain(study | {"runs": [run | {"images": None} for run in study["runs"]]}))
    return replace(found, runs=[replace(run, images=own) for run, own in zip(found.runs, images)])
