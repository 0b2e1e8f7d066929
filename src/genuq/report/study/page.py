"""The page of a study: a table of its runs, the retention curves of all methods, and score against realism."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genuq.analysis.score_entries import NOTHING, IntervalRow
from genuq.report.drawing import document, vocabulary
from genuq.report.drawing.marks import titled
from genuq.report.drawing.values import present, words
from genuq.report.study.data import MEASURES, embedded
from genuq.report.study.runs import StudyRun, StudyRuns
from genuq.report.study.verdict import COLOURS, VERDICTS, study_headline, study_warnings, verdict_lines, verdict_of

SCRIPTS = (
    "basics.js",
    "sheets.js",
    "common.js",
    "study/axes.js",
    "study/table.js",
    "study/lines.js",
    "study/legend.js",
    "study/retention.js",
    "study/scatter.js",
    "study/start.js",
)
STYLES = ("page.css", "study/study.css")
MANY_CHOICES = 60  # values of a column that a list to choose from can hold


def render(study: StudyRuns) -> str:
    """The whole file."""
    runs = study.runs
    page = embedded(study)
    opening, grounds = study_headline(runs)
    scale = page.data["scale"]
    context = {
        "study": study,
        "first": "runs",
        "headline": titled(opening),
        "grounds": grounds,
        "lines": verdict_lines(study),
        "warnings": study_warnings(study),
        "rows": [table_row(number, run) for number, run in enumerate(runs, start=1)],
        "scale": [IntervalRow(end, None, None) for end in scale],
        "targets": sorted({target for run in runs if (target := run.summary.spearman_target)}),
        "filters": filters(study),
        "counts": [(words, COLOURS[words], count) for words in VERDICTS if (count := _counted(runs, words))],
        "scattered": [run.name for run, samples in zip(runs, page.data["samples"]) if samples],
        "points": any(samples and "points" in samples for samples in page.data["samples"]),
        "intervals": page.intervals,
        "images": page.images,
        "glossary": {key: entry for key, entry in vocabulary.GLOSSARY.items() if key in WORDS},
        "data": page.data,
    }
    return document.render("study/index.html.j2", context, SCRIPTS, STYLES)


WORDS = (
    "uncertainty",
    "posterior",
    "score",
    "control",
    "baseline",
    "oracle",
    "fid",
    "precision",
    "recall",
    "density",
    "coverage",
    "retention",
    "random",
    "gain",
    "realism",
    "membership",
    "spearman",
    "auroc",
    "adds",
    "interval",
    "judge",
    "evaluations",
)


def _counted(runs: Sequence[StudyRun], words: str) -> int:
    return sum(verdict_of(run) == words for run in runs)


def table_row(number: int, run: StudyRun) -> dict[str, Any]:
    """What a run's line of the table shows; the numbers are those of its own score."""
    verdict = verdict_of(run)
    return {
        "number": number,
        "name": run.name,
        "values": run.values,
        "seed": run.seed,
        "verdict": verdict,
        "colour": COLOURS[verdict],
        **{measure: NOTHING if run.own is None else run.own.measured(measure) for measure in MEASURES},
        "evaluations": run.evaluations.get(run.score),
        "seconds": run.seconds,
        "report": run.report,
    }


def filters(study: StudyRuns) -> list[dict[str, Any]]:
    """The columns from whose values a reader can choose: place among the keys, or `seed` or `verdict`."""
    runs = study.runs
    columns: list[tuple[Any, str, list[str]]] = [
        (place, key, [run.values[place] for run in runs]) for place, key in enumerate(study.keys)
    ]
    columns.append(("seed", "seed", [words(run.seed) for run in runs]))
    columns.append(("verdict", "verdict", [verdict_of(run) for run in runs]))
    entries = [
        {"column": column, "name": name, "values": sorted(set(seen), key=_natural)} for column, name, seen in columns
    ]
    return [entry for entry in entries if 1 < len(entry["values"]) <= MANY_CHOICES]


def _natural(text: str) -> tuple[bool, float, str]:
    """Numbers by size, before words by letters."""
    try:
        number = float(text)
    except ValueError:
        return True, 0.0, text
    return not present(number), number if present(number) else 0.0, text
