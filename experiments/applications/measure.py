"""Runs of `genuq application=...` on the shipped flow-matching model, and the tables of the two studies of them.

python experiments/applications/measure.py rectification applications

Runs that are done are not done again (outputs/applications/LABEL.json).
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

from genuq import files

HERE = Path(__file__).parent
RESULTS = Path("outputs/applications")
COMMON = [
    *("sampler=dpm_solver_pp_2m", "sampler.steps=10", "sampler.samples=256", "likelihood.options.image_size=64"),
    *("score.also=[]", "score.controls=[random]"),
]
STAGES = "stages=[fit,sample,embed,score,apply]"
RUNS = {
    "rectification": {
        "spread 1 (the posterior's own)": ["application=rectify", "application.spread=1"],
        "spread 100": ["application=rectify", "application.spread=100"],
        "spread 300": ["application=rectify", "application.spread=300"],
        "spread 1000": ["application=rectify", "application.spread=1000"],
        "spread 300, not held": ["application=rectify", "application.spread=300", "application.hold=false"],
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
        found = {label: result(label, overrides) for label, overrides in RUNS[study].items()}
        lines = [f"`genuq {' '.join(COMMON)} application=...`", ""]
        lines += ["| run | measure | application | control | difference | n |", "|---|---|---|---|---|---|"]
        for label, entry in found.items():
            rows = {row["measure"]: row for row in entry["outcome"]}
            lines += [line(label, rows[name]) for name in MEASURES[study] if name in rows]
        lines += [
            "",
            "95 % intervals in brackets: Wilson's for rates, else bootstrap or half-samples.",
        ]
        lines += ["", *(f"- {label}: {facts(entry)}" for label, entry in found.items())]
        files.write_text(HERE.parent / study / "table.md", "\n".join(lines) + "\n")


def result(label: str, overrides: list[str]) -> dict:
    """The outcome of one run; all share the samples of one folder."""
    path = RESULTS / f"{label}.json"
    if not path.exists():
        subprocess.run(["genuq", *COMMON, "name=applications/run", STAGES, *overrides], check=True)
        files.write_json(path, files.read_json(RESULTS / "run" / "apply" / "application.json"))
    return files.read_json(path)


def line(label: str, row: dict) -> str:
    cells = [f"{row[f'{p}value']:.3g} [{row[f'{p}low']:.3g}, {row[f'{p}high']:.3g}]" for p in ("", "control_")]
    difference = f"{row['difference']:+.3g} [{row['difference_low']:+.3g}, {row['difference_high']:+.3g}]"
    return f"| {label} | {row['measure'].replace('_', ' ')} | {cells[0]} | {cells[1]} | {difference} | {row['n']} |"


def facts(entry: dict) -> str:
    """What a run did, in numbers."""
    wanted = ("failed", "accepted", "control_accepted", "relative_move", "region_share", "kept", "samples", "choices")
    wanted += ("evaluations", "control_evaluations", "moved_share")
    found = {key: entry["settings"][key] for key in wanted if key in entry["settings"]}
    return ", ".join(f"{key.replace('_', ' ')} {value:.3g}" for key, value in found.items())


if __name__ == "__main__":
    main()
