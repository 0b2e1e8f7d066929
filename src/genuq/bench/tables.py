"""What a table costs: a study of many runs, and the score table of one run with many samples.

Each is made up in a temporary folder and given to the command `genuq table` in a process of its own, figures included.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from genuq import files
from genuq.analysis.evaluation_entries import Evaluation, JudgeEntry, SampleTable, Summary, SummaryRow, write_evaluation
from genuq.analysis.results import RunResults
from genuq.analysis.score_entries import Curve, ScoreEntry
from genuq.errors import GenuqError
from genuq.report.drawing.markdown import table_lines
from genuq.report.drawing.values import decimals
from genuq.store.records import RunRecord, write_record

HELP = "time and memory of tabulating a study, and of filtering and drawing a score table"
Record = dict[str, Any]

COMMAND = """
import sys
from genuq.bench.tables import peak_resident
from genuq.cli.main import subcommand
status = subcommand("table", sys.argv[1:])
print(peak_resident())
sys.exit(status)
"""
SCORES = ("entropy", "trace", "cosine", "jitter", "isotropic", "random", "complexity", "realism")
METRICS = ("fid", "precision", "recall", "density", "coverage")
FRACTIONS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
SEEDS = 5


def configure(command: argparse.ArgumentParser) -> None:
    command.add_argument("--runs", type=int, help="of the study (default: 1000, quick 50)")
    command.add_argument("--samples", type=int, help="of the score table (default: 1,000,000, quick 20,000)")


def run(arguments: argparse.Namespace) -> list[Record]:
    """A record for the study without its figures, one with them, and one for the score table."""
    runs = arguments.runs or (50 if arguments.quick else 1000)
    samples = arguments.samples or (20_000 if arguments.quick else 1_000_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = make_study(folder, runs)
        study = [str(folder), "--store", str(folder / "store")]
        cases = {f"tables of {made:,} runs": [*study, "--no-figures"], f"tables and figures of {made:,} runs": study}
        make_scores(folder / "scores.safetensors", samples)
        one = ["--scores", str(folder / "scores.safetensors"), "--out", str(folder / "out")]
        cases[f"a score table of {samples:,} samples, filtered and drawn"] = one
        return [{"case": case, **measured(words)} for case, words in cases.items()]


def table(records: Sequence[Record]) -> str:
    rows = []
    for record in records:
        numbers = (record["seconds"], record["cpu_seconds"], record["peak_bytes"] / 1e6)
        rows.append([record["case"], *(decimals(number, places) for number, places in zip(numbers, (1, 1, 0)))])
    return "\n".join(table_lines(["genuq table", "s", "s of CPU", "peak memory (MB)"], rows, text_columns=1))


def measured(arguments: Sequence[str]) -> Record:
    """Seconds, CPU seconds and largest resident size of the command, from its start to its end.

    Raises:
        GenuqError: it failed.
    """
    program = [sys.executable, "-c", COMMAND, *arguments]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(program, stdout=subprocess.PIPE, text=True)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise GenuqError(f"genuq table {' '.join(arguments)} failed; see above.")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": int(done.stdout.rsplit(maxsplit=1)[-1])}


def peak_resident() -> int:
    """Largest resident size of this process so far, in bytes.

    The kernel's own record; `getrusage` counts the parent's size too, from between fork and exec.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: in bytes


def make_study(folder: Path, runs: int) -> int:
    """Records and curves of about as many runs, seeds included, and the study.yaml that asks for them; how many."""
    posteriors = [f"posterior_{nth}" for nth in range(max(1, round(runs / (2 * SEEDS))))]
    keys = {"posterior": posteriors, "likelihood": ["pixel", "semantic"], "seed": list(map(str, range(SEEDS)))}
    swept = " ".join(f"{key}={','.join(values)}" for key, values in keys.items())
    declared = {
        "title": "A study",
        "question": "How long does its table take?",
        "command": f"genuq -m study=bench {swept}",
        "rows": ["posterior"],
        "columns": "likelihood",
        "seeds": "seed",
        "measures": ["entropy/auroc", "entropy/fid_gain", "fid"],
    }
    files.write_text(folder / "study.yaml", yaml.safe_dump(declared))
    jobs = list(itertools.product(*keys.values()))
    for nth, values in enumerate(jobs):
        write_run(folder / "store", dict(zip(keys, values)), np.random.default_rng(nth))
    return len(jobs)


def write_run(store: Path, job: dict[str, str], source: np.random.Generator) -> None:
    """The record and the evaluation of a run, as large as real ones."""
    overrides = tuple(f"{key}={value}" for key, value in job.items())
    digest = hashlib.sha256(",".join(overrides).encode()).hexdigest()[:16]
    numbers = {metric: source.normal() for metric in METRICS}
    for score, measure in itertools.product(SCORES, ("auroc", "ause", "spearman", *(f"{m}_gain" for m in METRICS))):
        value = source.normal()
        name = f"{score}/{measure}"
        numbers |= {name: value, f"{name}_low": value - 0.1, f"{name}_high": value + 0.1}
    rows = [SummaryRow(score, score.capitalize(), "score", *[None] * 9) for score in SCORES]
    summary = Summary(sentence="", finds_bad=None, beats_controls=None, spearman_target=None, table=rows)
    judge = JudgeEntry("bench", 64, 5, 512, 512, None, None, True, [])
    write_record(
        store,
        RunRecord(
            study="bench",
            name=",".join(overrides),
            id=digest,
            command="genuq",
            overrides=overrides,
            choices={key: value for key, value in job.items() if key != "seed"},
            config={"seed": int(job["seed"]), "filler": [f"{nth}" for nth in range(200)]},
            artefacts={"evaluate": f"evaluate/{digest}"},
            seconds={"sample": 10.0},
            results=RunResults(summary, judge, numbers),
        ),
    )
    curves = {metric: _curve(source) for metric in METRICS}
    samples = source.normal(size=(512, 2 * len(SCORES))).tolist()
    scores = [
        ScoreEntry(score, score.capitalize(), "score", 0.0, curves, {}, None, {}, [], None, None, [])
        for score in SCORES
    ]
    table = SampleTable(columns=[], rows=samples)
    write_evaluation(store / "evaluate" / digest, Evaluation(summary, judge, scores, {}, table))


def _curve(source: np.random.Generator) -> Curve:
    return Curve(FRACTIONS, *source.normal(size=(6, len(FRACTIONS))).tolist())


def make_scores(path: Path, samples: int) -> None:
    """A score that goes with realism, and two dozen columns that are not read."""
    source = torch.Generator().manual_seed(0)
    columns = {f"score_{nth}": torch.rand(samples, generator=source, dtype=torch.float64) for nth in range(22)}
    columns["realism"] = torch.rand(samples, generator=source, dtype=torch.float64)
    columns["score_entropy"] = torch.randn(samples, generator=source, dtype=torch.float64) - columns["realism"]
    files.write_tensors(path, columns)
