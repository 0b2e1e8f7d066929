"""Runs of `genuq application=...` on the shipped flow-matching model, and the tables of the two studies of them.

python experiments/applications/measure.py rectification applications

Runs that are done are not done again (outputs/applications/LABEL.json).
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

from genuq import files
from genuq.analysis.intervals import wilson_interval

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
SEEDS = tuple(range(8, 24))  # 0 to 7 were looked at while the rule of rectification and its defaults were found
FEWER, ONE = SEEDS[:8], SEEDS[0]
SEEDED = ", seed "  # in the names of runs that differ by nothing else
RUNS = {
    "rectification": {
        **{f"as it comes, seed {seed}": [f"seed={seed}"] for seed in SEEDS},
        **{f"sure 0.95, seed {seed}": [f"seed={seed}", "application.sure=0.95"] for seed in FEWER},
        **{f"failed by score, seed {seed}": [f"seed={seed}", "application.failed_by=score"] for seed in FEWER},
        "held outside": [f"seed={ONE}", "application.hold=true"],
        "whole image": [f"seed={ONE}", "application.region=1"],
        "noise added": [f"seed={ONE}", "application.noise=added", "application.spread=1000"],
        "spread 1 (the posterior's own)": [f"seed={ONE}", "application.spread=1"],
        "rule both": [f"seed={ONE}", "application.rule=both"],
        "rule score": [f"seed={ONE}", "application.rule=score"],
        "rule score, failed by score": [f"seed={ONE}", "application.rule=score", "application.failed_by=score"],
    },
    "applications": {
        "filter": ["application=filter"],
        "filter within classes": ["application=filter", "application.per_class=true"],
        "best of 4": ["application=best_of_n"],
        "augment": ["application=augment", "application.samples=128", "application.spread=300"],
        "guide": ["application=guide", "application.samples=256"],
        "guide, random pixels": ["application=guide", "application.samples=256", "application.pixels=random"],
        "guide, every pixel": ["application=guide", "application.samples=256", "application.region=1"],
    },
}
MEASURES = {
    "rectification": [
        "accepted",
        "success",
        "harm",
        "mended",
        "success_without_rule",
        "confidence_gain",
        "accuracy_gain",
        "change_outside",
        "diversity",
    ],
    "applications": ["confidence", "confidence_gain", "accuracy", "realism", "fid", "recall", "diversity"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", choices=list(RUNS))
    for study in parser.parse_args().studies:
        found = {label: result(study, label, overrides) for label, overrides in RUNS[study].items()}
        lines = [f"`genuq {' '.join([*COMMON, *SHARED[study]])} ...`", ""]
        lines += ["| run | measure | application | control | difference | n |", "|---|---|---|---|---|---|"]
        for label, entry in found.items():
            if SEEDED in label:
                continue  # below, all together
            rows = {row["measure"]: row for row in entry["outcome"]}
            lines += [line(label, rows[name]) for name in MEASURES[study] if name in rows]
        lines += [
            "",
            "95 % intervals in brackets: Wilson's for rates, else bootstrap or half-samples.",
        ]
        lines += pooled(found)
        lines += ["", *(f"- {label}: {facts(entry)}" for label, entry in found.items())]
        files.write_text(HERE.parent / study / "table.md", "\n".join(lines) + "\n")


def result(study: str, label: str, overrides: list[str]) -> dict:
    """The outcome of one run; those of one seed share their samples."""
    path, name = RESULTS / study / f"{label}.json", f"applications/{study}"
    if not path.exists():
        subprocess.run(
            ["genuq", *COMMON, *SHARED[study], f"name={name}", f"study={study}", STAGES, *overrides], check=True
        )
        folder = Path("outputs") / name / "apply"
        files.write_json(path, files.read_json(folder / "application.json"))
    return files.read_json(path)


def line(label: str, row: dict) -> str:
    cells = [f"{row[f'{p}value']:.3g} [{row[f'{p}low']:.3g}, {row[f'{p}high']:.3g}]" for p in ("", "control_")]
    difference = f"{row['difference']:+.3g} [{row['difference_low']:+.3g}, {row['difference_high']:+.3g}]"
    return f"| {label} | {row['measure'].replace('_', ' ')} | {cells[0]} | {cells[1]} | {difference} | {row['n']} |"


def pooled(found: dict[str, dict]) -> list[str]:
    """Of runs that differ by their seed: what was accepted, how much of it rises at all, and how much is harm."""
    groups: dict[str, list[dict]] = {}
    for label, entry in found.items():
        name, _, seed = label.partition(SEEDED)
        if seed:
            groups.setdefault(name, []).append(entry)
    if not groups:
        return []
    lines = ["", "| all seeds | | accepted | success | harm | every attempt succeeds |", "|---|---|---|---|---|---|"]
    for name, entries in groups.items():
        for title, side in (("application", ""), ("control", "control_")):
            lines.append(f"| {name}, {len(entries)} seeds | {title} | {' | '.join(pooled_side(entries, side))} |")
    return lines


def pooled_side(entries: list[dict], side: str) -> list[str]:
    """Accepted of failed; success and harm of accepted; success of all attempts, accepted or not, by the seed."""
    accepted = [entry["settings"][f"{side}accepted"] for entry in entries]
    cells = [f"{sum(accepted)} of {sum(entry['settings']['failed'] for entry in entries)}"]
    for measure in ("success", "harm"):
        found = [counted(entry, measure, side) for entry in entries]
        if None in found:
            cells.append("not known: a run accepted on one side alone")
            continue
        share = wilson_interval(sum(filter(None, found)), sum(accepted))
        cells.append(f"{share.value:.3g} [{share.low:.3g}, {share.high:.3g}]")
    unruled = [
        row[f"{side}value"] for entry in entries for row in entry["outcome"] if row["measure"] == "success_without_rule"
    ]
    return [*cells, f"{min(unruled):.3g} to {max(unruled):.3g}"]


def counted(entry: dict, measure: str, side: str) -> int | None:
    """How many of a run's accepted attempts; a run that accepted nothing on one side has no row of the measure."""
    accepted = entry["settings"][f"{side}accepted"]
    for row in entry["outcome"]:
        if row["measure"] == measure:
            return round(row[f"{side}value"] * accepted)
    return None if accepted else 0


def facts(entry: dict) -> str:
    """What a run did, in numbers."""
    wanted = (
        "failed",
        "accepted",
        "control_accepted",
        "relative_move",
        "region_share",
        "rise",
        "kept",
        "samples",
        "choices",
    )
    wanted += ("confirmed", "expected_success", "evaluations", "control_evaluations", "moved_share")
    found = {key: entry["settings"][key] for key in wanted if entry["settings"].get(key) is not None}
    return ", ".join(f"{key.replace('_', ' ')} {value:.3g}" for key, value in found.items())


if __name__ == "__main__":
    main()
