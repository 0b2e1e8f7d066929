"""The command `genuq table`: the tables and figures of a study, from the records of its runs.

`genuq table experiments/NAME` reads experiments/NAME/study.yaml and the store, and writes table.md, table.tex,
table.csv and figure-*.pdf|svg into the study's folder (or --out), and missing.txt where runs are missing.
`genuq table --scores FILE` filters and plots the score table of one run, however many samples it has.
"""

from __future__ import annotations

from pathlib import Path

from genuq import files
from genuq.report.drawing.marks import marking
from genuq.report.drawing.style import pdf, svg
from genuq.report.study.figures import study_figures
from genuq.report.study.latex import table_latex
from genuq.report.study.text import table_csv, table_markdown
from genuq.store.scales import FULL, warning_of
from genuq.studies.collect import curves_of, table_of
from genuq.studies.declaration import read_study
from genuq.studies.grid import matched
from genuq.studies.scales import chosen_scale, records_at


def tabulate(
    folder: Path, store: Path, out: Path | None = None, figures: bool = True, scale: str | None = None
) -> list[Path]:
    """Write a study's tables and figures; returns their paths, the Markdown first.

    Args:
        out: folder to write into; None: the study's, or one in it with the name of another scale than the full one.
        scale: of the runs; None: see `studies.scales.chosen_scale`.

    Raises:
        ConfigurationError: study.yaml is wrong, or asks for what no run has.
        ArtefactError: a broken record.
    """
    study = read_study(folder)
    scale = chosen_scale(store, study.name, scale)
    out = out or (folder if scale == FULL else folder / scale)
    found = matched(study.jobs, records_at(store, study.name, scale), store)
    table = table_of(study, found, store, scale)
    texts = {"table.md": table_markdown(table), "table.tex": table_latex(table), "table.csv": table_csv(table)}
    missing = out / "missing.txt"
    missing.unlink(missing_ok=True)
    if table.missing:
        texts[missing.name] = "\n".join(table.missing) + "\n"
    for name, text in texts.items():
        files.write_text(out / name, text)
    drawn = study_figures(table, curves_of(study, found, store)) if figures else {}
    for name, figure in drawn.items():
        with marking(warning_of(scale)):
            files.write_text(out / f"{name}.svg", svg(figure))
            files.write_bytes(out / f"{name}.pdf", pdf(figure))
        texts |= {f"{name}.svg": "", f"{name}.pdf": ""}
    return [out / name for name in texts]
