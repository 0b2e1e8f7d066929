"""Runs of `genuq application=...` on the shipped flow-matching model, and the tables of the two studies of them.

python experiments/applications/measure.py rectification applications

Runs that are done are not done again (outputs/applications/STUDY/LABEL, seed SEED.json).
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genuq import files
from genuq.analysis.intervals import wilson_interval
from genuq.analysis.seeds import Reading, difference, estimate

HERE = Path(__file__).parent
RESULTS = Path("outputs/applications")
COMMON = [
    *("sampler=dpm_solver_pp_2m", "sampler.steps=10", "likelihood.options.image_size=64"),
    *("score.also=[]", "score.controls=[random]"),
]
SHARED = {  # overrides of every run of a study
    "rectification": ["sampler.samples=1024", "application=rectify"],
    "applications": ["sampler.samples=256"],
}
STAGES = "stages=[fit,sample,embed,score,apply]"
FRESH = tuple(range(8, 24))  # 0 to 7 were looked at while the rule of rectification and its defaults were found
FIVE = tuple(range(5))
SETTINGS: dict[str, dict[str, tuple[Sequence[int], list[str]]]] = {  # label: seeds, overrides
    "rectification": {
        "as it comes": (FRESH, []),
        "sure 0.95": (FRESH[:8], ["application.sure=0.95"]),
        "failed by score": (FRESH[:8], ["application.failed_by=score"]),
        "held outside": (FRESH[:1], ["application.hold=true"]),
        "whole image": (FRESH[:1], ["application.region=1"]),
        "noise added": (FRESH[:1], ["application.noise=added", "application.spread=1000"]),
        "spread 1 (the posterior's own)": (FRESH[:1], ["application.spread=1"]),
        "rule both": (FRESH[:1], ["application.rule=both"]),
        "rule score": (FRESH[:1], ["application.rule=score"]),
        "rule score, failed by score": (FRESH[:1], ["application.rule=score", "application.failed_by=score"]),
    },
    "applications": {
        "filter": (FIVE, ["application=filter"]),
        "filter within classes": (FIVE, ["application=filter", "application.per_class=true"]),
        "filter within classes by PNG size": (
            FIVE,
            ["application=filter", "application.per_class=true", "score=complexity"],
        ),
        "filter within classes by isotropic weight noise": (
            FIVE,
            ["application=filter", "application.per_class=true", "score=isotropic"],
        ),
        "best of 4": (FIVE, ["application=best_of_n"]),
        "augment": (FIVE, ["application=augment", "application.samples=128", "application.spread=300"]),
        "guide": (FIVE, ["application=guide", "application.samples=256"]),
        "guide, random pixels": (FIVE, ["application=guide", "application.samples=256", "application.pixels=random"]),
        "guide, every pixel": (FIVE, ["application=guide", "application.samples=256", "application.region=1"]),
    },
}
MEASURES = {
    "rectification": [
        "mended",
        "success_without_rule",
        "confidence_gain",
        "accuracy_gain",
        "change_outside",
        "diversity",
    ],
    "applications": ["confidence", "confidence_gain", "accuracy", "realism", "fid", "recall", "diversity"],
}
FACTS = (
    *("failed", "accepted", "control_accepted", "relative_move", "region_share", "rise", "confirmed"),
    *("expected_success", "kept", "samples", "choices", "evaluations", "control_evaluations", "moved_share"),
)
Runs = Mapping[int, dict[str, Any]]  # what `apply` left, by seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", choices=list(SETTINGS))
    for study in parser.parse_args().studies:
        found = {
            label: {seed: result(study, label, seed, overrides) for seed in seeds}
            for label, (seeds, overrides) in SETTINGS[study].items()
        }
        lines = [f"`genuq {' '.join([*COMMON, *SHARED[study]])} ...`", ""]
        if study == "rectification":
            lines += pooled(found)
        lines += ["| run | measure | application | control | difference | seeds |", "|---|---|---|---|---|---|"]
        for label, runs in found.items():
            lines += [line for name in MEASURES[study] for line in compared(label, name, runs)]
        lines += ["", "95 % intervals in brackets: over seeds where there are several, else the run's own."]
        lines += ["", *(f"- {label}: {facts(runs)}" for label, runs in found.items())]
        files.write_text(HERE.parent / study / "table.md", "\n".join(lines) + "\n")


def result(study: str, label: str, seed: int, overrides: list[str]) -> dict[str, Any]:
    """The outcome of one run; those of one seed share their samples."""
    path, name = RESULTS / study / f"{label}, seed {seed}.json", f"applications/{study}"
    if not path.exists():
        given = [*COMMON, *SHARED[study], f"name={name}", f"study={study}", STAGES, f"seed={seed}", *overrides]
        subprocess.run(["genuq", *given], check=True)
        files.write_json(path, files.read_json(Path("outputs") / name / "apply" / "application.json"))
    return files.read_json(path)


def compared(label: str, measure: str, runs: Runs) -> list[str]:
    """The line of a measure, where any run has it: means over the seeds, and of the differences within them."""
    rows = {str(seed): row for seed, run in runs.items() for row in run["outcome"] if row["measure"] == measure}
    if not rows:
        return []
    ours, control = (
        {seed: Reading(*(row[f"{side}{end}"] for end in ("value", "low", "high"))) for seed, row in rows.items()}
        for side in ("", "control_")
    )
    cells = [cell(found.mean, found.low, found.high) for found in map(estimate, (ours, control)) if found]
    if len(rows) > 1:
        gap = difference(ours, control)[0]
        cells.append(cell(gap.value, gap.low, gap.high, "+") if gap else "")
    else:
        (row,) = rows.values()
        cells.append(cell(row["difference"], row["difference_low"], row["difference_high"], "+"))
    return [f"| {label} | {measure.replace('_', ' ')} | {' | '.join(cells)} | {len(rows)} |"]


def cell(value: float, low: float | None, high: float | None, sign: str = "") -> str:
    return f"{value:{sign}.3g} [{low:{sign}.3g}, {high:{sign}.3g}]"


def pooled(found: Mapping[str, Runs]) -> list[str]:
    """Of all seeds together: what was accepted, how much of it rises at all, and how much is harm."""
    lines = ["| all seeds | | accepted | success | harm | success of all attempts |", "|---|---|---|---|---|---|"]
    for label, runs in found.items():
        for title, side in (("application", ""), ("control", "control_")):
            seeds = f", {len(runs)} seeds" if len(runs) > 1 else ""
            lines.append(f"| {label}{seeds} | {title} | {' | '.join(pooled_side(list(runs.values()), side))} |")
    return [*lines, "", "Wilson's 95 % intervals in brackets; the last column by the seed.", ""]


def pooled_side(runs: list[dict[str, Any]], side: str) -> list[str]:
    """Accepted of failed; success and harm of accepted; success of all attempts, accepted or not."""
    accepted = [run["settings"][f"{side}accepted"] for run in runs]
    cells = [f"{sum(accepted)} of {sum(run['settings']['failed'] for run in runs)}"]
    for measure in ("success", "harm"):
        counts = [counted(run, measure, side) for run in runs]
        if None in counts:
            cells.append("not known: a run accepted on one side alone")
            continue
        if not sum(accepted):
            cells.append("")
            continue
        share = wilson_interval(sum(filter(None, counts)), sum(accepted))
        cells.append(cell(share.value, share.low, share.high))
    unruled = [
        row[f"{side}value"] for run in runs for row in run["outcome"] if row["measure"] == "success_without_rule"
    ]
    return [*cells, " to ".join(dict.fromkeys(f"{share:.3g}" for share in (min(unruled), max(unruled))))]


def counted(run: dict[str, Any], measure: str, side: str) -> int | None:
    """How many of a run's accepted attempts; a run that accepted nothing on one side has no row of the measure."""
    accepted = run["settings"][f"{side}accepted"]
    for row in run["outcome"]:
        if row["measure"] == measure:
            return round(row[f"{side}value"] * accepted)
    return None if accepted else 0


def facts(runs: Runs) -> str:
    """What the runs did, in numbers: one where all have the same, else those of the seeds in turn."""
    told = []
    for key in FACTS:
        values = [run["settings"].get(key) for run in runs.values()]
        written = ["none" if value is None else f"{value:.3g}" for value in values]
        if set(written) != {"none"}:
            told.append(f"{key.replace('_', ' ')} {', '.join(written if len(set(written)) > 1 else written[:1])}")
    return "; ".join(told)


if __name__ == "__main__":
    main()
