"""The benchmark of pages: many samples of few, and the seconds until a page is ready."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq.bench import page
from genuq.bench.page import Shown
from genuq.errors import GenuqError
from support.made_run import FEWER, make_images, make_results, typed


@pytest.fixture(scope="module")
def shown() -> Shown:
    results, bad, classes = make_results(24, 2, FEWER)
    images, draws = make_images(bad, classes, 2)
    return Shown(typed(results), torch.as_tensor(images), torch.as_tensor(draws))


def test_samples_are_taken_again_with_their_rows(shown: Shown) -> None:
    large = shown.enlarged(50)
    assert len(large.results.samples.rows) == len(large.images) == len(large.draws) == 50
    for n in (0, 23, 24, 49):
        assert large.results.samples.rows[n] == shown.results.samples.rows[n % 24]
        assert torch.equal(large.images[n], shown.images[n % 24]) and torch.equal(large.draws[n], shown.draws[n % 24])


def test_the_page_is_written_and_opened(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "small_run", lambda folder: shown)
    written, opened = page.rows(30, rounds=1)
    assert written.what == "report page of 30 samples, written" and written.values["MB of the page"] > 0.1
    if page.lacking():
        assert opened.reason == page.lacking() and opened.ratio is None
    else:
        assert opened.seconds is not None and 0 < opened.seconds < 60 and opened.target == 2.0


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page.shutil, "which", lambda name: None)
    assert "not installed" in (page.opening(Path("page.html"), "opened", 1).reason or "")


def test_a_page_that_never_is_ready_is_an_error() -> None:
    class Never:
        def get(self, address: str) -> None: ...

        def execute_script(self, script: str) -> bool:
            return False

    with pytest.raises(GenuqError, match="not ready"):
        page.seconds_to_open(Never(), Path("/page.html"), limit=0.02)
