"""Whatever is drawn at another than full scale says so."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from genuq.report.drawing.document import render
from genuq.report.drawing.marks import mark, marking, titled
from genuq.report.drawing.pictures import sample_grid
from genuq.report.drawing.style import pdf, png, svg

TEXT = "scale=smoke: no result"
IMAGES = np.zeros((4, 1, 8, 8), np.uint8)


def test_figures_bear_the_mark_once_and_without_one_they_are_what_they_were() -> None:
    figure = Figure(figsize=(4, 3))
    plain = svg(figure), png(figure), pdf(figure)
    with marking(""):
        assert (svg(figure), png(figure), pdf(figure)) == plain
    with marking(TEXT):
        marked = svg(figure), png(figure), pdf(figure)
        assert mark() == TEXT
    assert mark() == "" and TEXT not in plain[0]
    assert marked[0].count(f">{TEXT}<") == 1
    assert all(one != other for one, other in zip(plain, marked))
    with Image.open(io.BytesIO(marked[1])) as image:
        assert len(image.convert("RGB").getcolors(2**20) or []) > 2


def test_sheets_of_images_have_a_strip_above_them_that_says_so() -> None:
    plain = sample_grid(IMAGES, 2)
    with marking(TEXT):
        marked = sample_grid(IMAGES, 2)
    assert marked.height > plain.height and marked.width >= plain.width
    below = marked.crop((0, marked.height - plain.height, plain.width, marked.height))
    assert below.tobytes() == plain.tobytes()
    strip = np.asarray(marked)[: marked.height - plain.height]
    assert (strip < 128).any() and (strip == 255).any()


def test_titles_and_pages_begin_with_it() -> None:
    assert titled("FID") == "FID"
    with marking(TEXT):
        assert titled("FID") == f"{TEXT} · FID"
        page = render("base.html.j2", {"glossary": {}, "images": {}, "data": {}}, (), ())
    assert f"<title>{TEXT}" in page and f'class="no-result" role="note">{TEXT}' in page
    assert 'class="no-result"' not in render("base.html.j2", {"glossary": {}, "images": {}, "data": {}}, (), ())
