"""The page of scored images in real Chromium: the most doubtful first, sortable, and it asks for nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from genuq.report.images import page
from genuq.report.images.ranking import Column, Ranking
from support.browsing import HOSTILE, asked_for, find, opened, scroll_width

COUNT = 60


@pytest.fixture(scope="module")
def ranking() -> Ranking:
    source = np.random.default_rng(0)
    lid = Column("lid", "Re-noising loss (LID)", "baseline", source.random(COUNT), 4.0)
    margin = Column("class_margin", "Class margin", "baseline", source.standard_normal(COUNT), 40.0)
    names = [f"{n:02d}.png" for n in range(COUNT - 1)] + [f"{HOSTILE}.png"]
    classes = ["bag", "T-shirt/top"] * (COUNT // 2)
    return Ranking(names, classes, [lid, margin], np.arange(COUNT) % 3 == 0)


def pixels(rows) -> np.ndarray:
    return np.stack([np.full((1, 8, 8), 4 * row, np.uint8) for row in rows])


def rendered(ranking: Ranking) -> str:
    return page.render(ranking, "Images of left", pixels, 44.0, [("Model", "ddpm")], "genuq images left")


@pytest.fixture(scope="module")
def shown(browser, ranking, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(rendered(ranking))
    yield opened(browser, path)
    assert browser.get_log("browser") == []


def tiles(shown, holder: str) -> list[int]:
    return [int(tile.get_attribute("data-sample")) for tile in find(shown, f"#{holder} .tile")]


def test_the_most_doubtful_come_first(shown, ranking) -> None:
    """A tile's number is its place on the page, which is its rank."""
    assert tiles(shown, "low") == list(range(24))
    assert tiles(shown, "high") == list(range(COUNT - 1, COUNT - 25, -1))
    assert [find(shown, f"#{end}-title")[0].text for end in ("low", "high")] == ["Most uncertain", "Most certain"]
    first = ranking.columns[0].values.max()
    assert find(shown, "#end-low")[0].text == f"highest {first:.3f}"
    grey = shown.execute_script(
        "return document.querySelector('#low canvas').getContext('2d').getImageData(0, 0, 1, 1).data[0]"
    )
    assert grey == 4 * int(ranking.columns[0].values.argmax())


def test_another_score_sorts_and_a_class_selects(shown, ranking) -> None:
    shown.execute_script("state.sort = SORTS[1]; state.chosen = '0'; show()")
    values = ranking.columns[1].values[ranking.order]
    wanted = [place for place in np.argsort(-values) if ranking.classes[ranking.order[place]] == "T-shirt/top"]
    assert tiles(shown, "low") == wanted[:24]
    assert find(shown, "#count")[0].text == f"{COUNT // 2} images"
    shown.execute_script("state.sort = SORTS[0]; state.chosen = ''; show()")


def test_one_image_in_full_is_called_by_its_file(shown, ranking) -> None:
    place = ranking.order.index(COUNT - 1)
    shown.execute_script(f"openSample({place})")
    assert find(shown, "#detail-title")[0].text.startswith(f"{HOSTILE}.png")
    assert find(shown, "#detail-rank")[0].text.endswith("from the highest")
    facts = [fact.text for fact in find(shown, "#detail-facts dd")]
    assert facts == [f"{HOSTILE}.png", "T-shirt/top", "no"] and len(find(shown, "#versions figure")) == 1
    shown.execute_script("document.getElementById('detail').close()")
    assert shown.execute_script("return window.hacked") is None
    assert [url for url in asked_for(shown) if url.startswith(("http", "ws"))] == []
    assert scroll_width(shown, 390) <= 390


def test_it_says_what_the_scores_can_and_what_was_done(ranking) -> None:
    text = rendered(ranking)
    assert "no probability" in text and "AUROC 0.81" in text and "20 are kept" in text
    assert "the least doubtful by re-noising loss (LID)" in text and "genuq images left" in text
    assert page.spoken_label("LID of it") == "LID of it"
    assert page.summary_of(ranking.columns[0])["median"] == pytest.approx(np.median(ranking.columns[0].values))
    plain = rendered(replace(ranking, kept=None, classes=[]))
    assert "are kept" not in plain


def test_of_very_many_the_page_shows_an_even_selection(monkeypatch, ranking) -> None:
    monkeypatch.setattr(page, "PAGE_IMAGES", 10)
    text = rendered(ranking)
    assert "The page shows 10 of 60 images" in text
    rows = page.page_data(ranking, ranking.order[:3], [])["rows"]
    assert [row[0] for row in rows] == [ranking.names[row] for row in ranking.order[:3]]
