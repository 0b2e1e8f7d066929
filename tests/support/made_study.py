"""Made-up studies: records as runs leave them, with numbers whose statistics the tests compute by themselves."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from genuq import files
from genuq.analysis.evaluation_entries import Evaluation, JudgeEntry, SampleTable, Summary, SummaryRow, write_evaluation
from genuq.analysis.results import RunResults
from genuq.analysis.score_entries import Curve, ScoreEntry
from genuq.store.records import RunRecord, write_record

FRACTIONS = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]
LABELS = {"entropy": "Generative uncertainty", "jitter": "Initial-noise jitter"}
MODELS, POSTERIORS, LIKELIHOODS = ("ddpm", "flow_matching"), ("exact_laplace", "kfac", "swag"), ("pixel", "semantic")
JUDGE = JudgeEntry("classifier", 64, 5, 512, 512, None, None, True, [])
COMMAND = (
    f"genuq -m study=posteriors model={','.join(MODELS)} posterior={','.join(POSTERIORS)} "
    f"likelihood={','.join(LIKELIHOODS)} seed=range(0,3) sampler.samples=512"
)
DECLARED: dict[str, Any] = {
    "title": "Posteriors side by side",
    "question": "Which posterior finds the bad samples?",
    "command": COMMAND,
    "rows": ["model", "posterior"],
    "columns": "likelihood",
    "seeds": "seed",
    "measures": ["entropy/auroc", "fid"],
}


def declare(folder: Path, **changes: Any) -> Path:
    """A study's folder with its study.yaml; a key given as None is left out."""
    entry = {key: value for key, value in (DECLARED | changes).items() if value is not None}
    files.write_text(folder / "study.yaml", yaml.safe_dump(entry, sort_keys=False))
    return folder


def numbers(*setting: object) -> dict[str, float]:
    """The numbers of a run, from its settings alone."""
    source = np.random.default_rng(int(hashlib.sha256(repr(setting).encode()).hexdigest()[:8], 16))
    found: dict[str, float] = {"fid": 8 + source.normal(), "precision": 0.7 + 0.02 * source.normal()}
    for score, centre in (("entropy", 0.6), ("jitter", 0.55)):
        auroc = centre + 0.03 * source.normal()
        found |= {f"{score}/auroc": auroc, f"{score}/auroc_low": auroc - 0.05, f"{score}/auroc_high": auroc + 0.04}
        found[f"{score}/fid_gain"] = source.normal()
    return found


def record(choices: dict[str, str | None], seed: int, study: str = "posteriors", **changes: Any) -> RunRecord:
    swept = [f"{key}={value}" for key, value in choices.items()] + [f"seed={seed}"]
    found = numbers(*choices.values(), seed)
    table = [SummaryRow(name, label, "score", *[None] * 9) for name, label in LABELS.items()]
    summary = Summary("It does.", True, None, None, table)
    entry: dict[str, Any] = {
        "study": study,
        "name": ",".join(swept),
        "id": hashlib.sha256("|".join([study, *swept]).encode()).hexdigest()[:16],
        "command": COMMAND,
        "overrides": (f"study={study}", *swept, "sampler.samples=512"),
        "choices": choices | {"data": "fashion_mnist"},
        "config": {"seed": seed, "sampler": {"samples": 512, "steps": 20}, "trainer": {"learning_rate": 0.001}},
        "artefacts": {"evaluate": f"evaluate/{'-'.join(map(str, [*choices.values(), seed]))}"},
        "seconds": {"fit": 2.5, "sample": 20.0},
        "results": RunResults(summary, JUDGE, found),
    }
    return RunRecord(**entry | changes)


def scores(source: np.random.Generator) -> list[ScoreEntry]:
    """The part of an evaluation that curves are drawn from."""
    found = []
    for nth, (name, label) in enumerate(LABELS.items()):
        random = [8 + 0.4 * (1 - fraction) for fraction in FRACTIONS]
        pull = source.normal(1.5 - nth, 0.5)
        value = [r - pull * (1 - fraction) for r, fraction in zip(random, FRACTIONS)]
        curves = {"fid": Curve(FRACTIONS, value, value, value, random, random, random)}
        found.append(ScoreEntry(name, label, "score", 0.0, curves, {}, None, {}, [], None, None, []))
    return found


def make_runs(store: Path, seeds: int = 3, curves: bool = False) -> list[RunRecord]:
    """A record of every setting and seed."""
    made = []
    for model, posterior, likelihood in itertools.product(MODELS, POSTERIORS, LIKELIHOODS):
        for seed in range(seeds):
            run = record({"model": model, "posterior": posterior, "likelihood": likelihood}, seed)
            write_record(store, run)
            if curves:
                entries = scores(np.random.default_rng(len(made)))
                whole = Evaluation(run.evaluated.summary, JUDGE, entries, {}, SampleTable([], []))
                write_evaluation(store / run.artefacts["evaluate"], whole)
            made.append(run)
    return made
