"""The score table of one run, filtered and drawn: two columns are read, however many samples and scores it has.

Two files of a run are such tables: samples.safetensors of the stage `evaluate`, with every score as `score_NAME` and
what the judge says of each sample; and scores.safetensors of the stage `score`, where every column is a score, so that
realism is there with its sign turned.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from genuq import files
from genuq.analysis.evaluation_entries import SCORE_COLUMN
from genuq.analysis.filtering import keep_lowest
from genuq.analysis.inputs import Array, column
from genuq.analysis.intervals import Interval
from genuq.analysis.kept_means import KeptMeans, kept_means
from genuq.analysis.retention import FRACTIONS
from genuq.errors import ArtefactError, ConfigurationError, did_you_mean
from genuq.report.drawing.markdown import prose, table_lines
from genuq.report.drawing.spreadsheet import csv_table
from genuq.report.drawing.style import pdf, svg
from genuq.report.drawing.values import decimals, interval, significant, spoken
from genuq.report.study.score_table import score_figures
from genuq.report.study.words import places_of

DEFAULT = "entropy"


def tabulate_scores(path: Path, score: str | None, against: str | None, keep: float, out: Path) -> list[Path]:
    """Write what a score keeps and how another column goes with it; returns the paths, the Markdown first.

    kept.safetensors holds `index`, the kept rows in order; scores.csv the mean over every fraction; scores.md both in
    words; figure-histogram, -against and -kept the pictures, as PDF and SVG.

    Args:
        path: of a safetensors file of (N,) columns.
        score: to filter by; None for the entropy, or the first column beside `against`.
        against: the column that is averaged over what is kept; None for realism.
        keep: fraction of the samples, in (0, 1).

    Raises:
        ArtefactError: the file is broken, or has no such column.
        ConfigurationError: a fraction that keeps nothing or everything; a column against itself.
    """
    if not 0 < keep < 1:
        raise ConfigurationError(f"--keep {keep}: give a fraction between 0 and 1.")
    names = _chosen(files.tensor_names(path), score, against or "realism")
    score_N, other_N = _columns(path, names)
    kept_K = keep_lowest(score_N, keep)
    finite = np.isfinite(other_N)
    means = kept_means(score_N[finite], other_N[finite], [*FRACTIONS, keep])
    threshold = float(score_N[kept_K].max())
    words = _words(names)
    files.write_text(out / "scores.md", _markdown(words, score_N, kept_K, threshold, keep, means, int((~finite).sum())))
    files.write_text(out / "scores.csv", _csv(means))
    files.write_tensors(out / "kept.safetensors", {"index": torch.from_numpy(kept_K)}, {"score": names[0]})
    written = [out / name for name in ("scores.md", "scores.csv", "kept.safetensors")]
    for name, figure in score_figures(score_N, other_N, words, threshold, means).items():
        files.write_text(out / f"figure-{name}.svg", svg(figure))
        files.write_bytes(out / f"figure-{name}.pdf", pdf(figure))
        written += [out / f"figure-{name}.svg", out / f"figure-{name}.pdf"]
    return written


def _chosen(known: Sequence[str], score: str | None, against: str) -> tuple[str, str]:
    """The two columns: the score, by its name with or without the prefix, and what it is held against."""
    others = [name for name in known if name != against]
    preferred = [score] if score else [DEFAULT, *(name for name in others if name.startswith(SCORE_COLUMN)), *others]
    wanted = [name for word in preferred for name in (word, SCORE_COLUMN + word)]
    chosen = next((name for name in wanted if name in others), preferred[0])
    if chosen == against or not others:
        raise ConfigurationError(
            f"--score and --against are both '{against}': name two columns. Known: {', '.join(known)}."
        )
    return chosen, against


def _words(names: tuple[str, str]) -> tuple[str, str]:
    """The columns as a reader sees them; beside another score, a column such as realism is itself a score."""
    score, against = names
    if score.startswith(SCORE_COLUMN):
        return spoken(score.removeprefix(SCORE_COLUMN)), spoken(against.removeprefix(SCORE_COLUMN))
    return spoken(score), f"{spoken(against)} (as a score)"


def _columns(path: Path, names: tuple[str, str]) -> tuple[Array, Array]:
    """Both columns in float64; the others stay on the disk."""
    with files.opened(path) as file:
        known = list(file.keys())
        for name in names:
            if name not in known:
                raise ArtefactError(f"{path} has no column '{name}'.{did_you_mean(name, known)}")
        first, second = (file.get_tensor(name) for name in names)
    score_N = column(first, names[0])
    return score_N, column(second, names[1], len(score_N))


def _markdown(
    words: tuple[str, str], score_N: Array, kept_K: Array, threshold: float, keep: float, means: KeptMeans, left: int
) -> str:
    score, other = map(prose, words)
    place = means.fraction.index(keep)
    digits = 1 + places_of([entry.value for entry in means.mean])
    cells = [[_cell(entry, digits) for entry in entries] for entries in zip(means.mean, means.gain)]
    rows = [[f"{fraction:.4g}", *line] for fraction, line in zip(means.fraction, cells)]
    opening = (
        f"Keeping the {len(kept_K):,} of {len(score_N):,} samples with the lowest {score} (up to "
        f"{significant(threshold, 4)}): the mean of {other} is {cells[place][0]}, a difference of {cells[place][1]} "
        "from all samples, whose mean random choice keeps."
    )
    table = table_lines(["fraction kept", f"mean of {words[1]}", "difference"], rows, text_columns=0)
    skipped = f" {left:,} samples without a finite {other} are left out of the means." if left else ""
    foot = f"95 % bootstrap intervals over samples in brackets.{skipped}"
    return "\n".join([opening, "", *table, "", foot]) + "\n"


def _cell(entry: Interval, digits: int) -> str:
    return f"{decimals(entry.value, digits)} {interval(entry.low, entry.high, digits)}"


def _csv(means: KeptMeans) -> str:
    ends = [f"{name}{end}" for name in ("mean", "gain") for end in ("", "_low", "_high")]
    rows = (
        [fraction, *(part for entry in entries for part in (entry.value, entry.low, entry.high))]
        for fraction, *entries in zip(means.fraction, means.mean, means.gain)
    )
    return csv_table([["fraction", *ends], *rows])
