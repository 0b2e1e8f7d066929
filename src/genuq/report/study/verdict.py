"""A study in words: its verdict, its best method, and what a reader must mind before comparing its runs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from genuq.analysis.score_entries import NOTHING, IntervalRow
from genuq.report.drawing.document import headline
from genuq.report.drawing.values import decimals, interval, present
from genuq.report.study.runs import StudyRun, StudyRuns

VERDICTS = ("finds bad samples", "no better than a control", "not established", "points the wrong way")
COLOURS = dict(zip(VERDICTS, ("green", "yellow", "yellow", "red")))
FEW = 6  # names in a sentence


def verdict_of(run: StudyRun) -> str:
    """One of `VERDICTS`, about the run's own score."""
    if run.summary.finds_bad:
        return VERDICTS[1] if run.summary.beats_controls is False else VERDICTS[0]
    return VERDICTS[3] if run.summary.finds_bad is False else VERDICTS[2]


def study_headline(runs: Sequence[StudyRun]) -> tuple[str, str]:
    """The answer and, in smaller type, its grounds."""
    if not runs:
        return "No run of this study has been evaluated yet.", ""
    if len(runs) == 1:
        return headline(runs[0].summary.sentence)
    count = {words: sum(verdict_of(run) == words for run in runs) for words in VERDICTS}
    good, as_controls, undecided, wrong = count.values()
    if not good + as_controls:
        opening = f"None of {len(runs):,} runs was shown to find the bad samples."
    else:
        rest = "" if not as_controls else ", but none better than its controls" if not good else ""
        rest = rest or (f", {good:,} of them better than their controls" if as_controls else "")
        opening = f"{good + as_controls:,} of {len(runs):,} runs find the bad samples{rest}."
    others = [
        f"{undecided:,} could not be shown to" if undecided and undecided < len(runs) else "",
        f"{wrong:,} trust bad samples more than good ones" if wrong else "",
    ]
    return opening, _sentence("; ".join(part for part in others if part))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def verdict_lines(study: StudyRuns) -> list[str]:
    """What the numbers say in a few sentences, each with what it does not say."""
    return [line for line in (best_line(study), controls_line(study.runs)) if line] if len(study.runs) > 1 else []


def combinations(study: StudyRuns) -> dict[tuple[str, ...], list[StudyRun]]:
    """Runs that differ in nothing but their seeds, by the choices that they share."""
    groups: dict[tuple[str, ...], list[StudyRun]] = {}
    for run in study.runs:
        groups.setdefault(tuple(run.values), []).append(run)
    return groups


def best_line(study: StudyRuns) -> str:
    """The highest AUROC; over seeds, the highest mean. Being chosen, it is flattered, and the line says so."""
    groups = combinations(study)
    means = {values: statistics.fmean(known) for values, runs in groups.items() if (known := _aurocs(runs))}
    if not means:
        return ""
    values, mean = max(means.items(), key=lambda entry: entry[1])
    runs, many = groups[values], len(means)
    name = named(study.keys, values)
    by = f", by {name}" if name else ""
    caution = f" It was chosen as the best of {many:,}: expect less of it on new samples." if many > 1 else ""
    known = _aurocs(runs)
    if len(known) > 1:
        span = f"{decimals(min(known))} to {decimals(max(known))} over {len(known)} seeds"
        return f"Highest mean AUROC: {decimals(mean)} ({span}){by}.{caution}"
    row = next(row for run in runs if (row := own_auroc(run)).value == known[0])
    span = interval(row.low, row.high)
    return f"Highest AUROC: {decimals(mean)}{f', 95 % interval {span}' if span else ''}{by}.{caution}"


def _aurocs(runs: Sequence[StudyRun]) -> list[float]:
    return [value for run in runs if present(value := own_auroc(run).value)]


def controls_line(runs: Sequence[StudyRun]) -> str:
    compared = [run.summary.beats_controls for run in runs if run.summary.beats_controls is not None]
    if not compared or all(compared):
        return f"In all {len(compared):,} runs the score beats every control." if compared else ""
    return f"In {compared.count(False):,} of {len(compared):,} runs a control does as well as the score, or better."


def named(keys: Sequence[str], values: Sequence[str]) -> str:
    """`model = ddpm, posterior = kfac`."""
    return ", ".join(f"{key} = {value}" for key, value in zip(keys, values))


def own_auroc(run: StudyRun) -> IntervalRow:
    """AUROC of the run's own score."""
    return NOTHING if run.own is None else run.own.measured("auroc")


def study_warnings(study: StudyRuns) -> list[str]:
    """What forbids a comparison, and what is not there."""
    shared = [run.name for run in study.runs if not run.judge.independent]
    gone = [run.name for run in study.runs if run.missing]
    absent, asked = study.absent, study.asked
    found = [
        (shared, "In {runs} the judge is the encoder that makes the score: that verdict does not count."),
        (study.unevaluated, "Without results, and so not on this page: {runs}."),
        (study.left_out, "Not among the runs that the study asks for, or made again since, and left out: {runs}."),
        (gone, "Artefacts of {runs} are gone from the store: what needs them is missing here."),
    ]
    lines = [text.format(runs=_runs(names)) for names, text in found if names]
    if absent:
        are = "is" if len(absent) == 1 else "are"
        of = f"the {asked:,} runs that the study asks for" if asked else "the combinations of these choices"
        lines.insert(0, f"{len(absent):,} of {of} {are} not there: {_few(absent, '; ')}.")
    return [*_judged_apart(study.runs), *lines]


def _judged_apart(runs: Sequence[StudyRun]) -> list[str]:
    """FID and its kin can be compared only between runs that were judged alike."""
    names = {"extractor": "judge", "dimension": "features", "k": "k", "samples": "samples", "reference": "references"}
    seen = {what: {getattr(run.judge, key) for run in runs} for key, what in names.items()}
    apart = [f"{what} {_few(sorted(map(str, found)))}" for what, found in seen.items() if len(found) > 1]
    if not apart:
        return []
    return [
        f"The runs were not judged alike ({'; '.join(apart)}): compare FID, precision and recall only where they were."
    ]


def _runs(names: Sequence[str]) -> str:
    return f"{len(names):,} run{'s' if len(names) > 1 else ''} ({_few(names)})"


def _few(names: Sequence[str], between: str = ", ") -> str:
    more = len(names) - FEW
    return between.join(names[:FEW]) + (f" and {more:,} more" if more > 0 else "")
