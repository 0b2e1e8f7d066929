"""The page of a run of many samples: what it takes to write, and to be opened in a browser until all on it works."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genuq import entries
from genuq.analysis.results import Results
from genuq.bench.baseline import ours
from genuq.bench.rows import Row, not_run
from genuq.bench.timing import spent
from genuq.errors import GenuqError
from genuq.report.run import RESULTS

TARGET = 2.0  # seconds
RUN = (  # a small one, whose samples then are taken many times
    *("experiment=glyphs", "model.checkpoint=reference", "posterior=exact_laplace", "logger=none", "name=page"),
    *("stages=[fit,sample,probe,embed,score,evaluate,report]", "sampler.samples=64", "sampler.steps=2"),
    *("posterior.images=64", "posterior.held_out=32", "posterior.draws=2", "metric.reference_images=200"),
    *("metric.bootstrap=20", "metric.half_samples=2", "metric.random_repeats=2"),
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1280,900")
READY = "return document.documentElement.dataset.ready === 'true'"


@dataclass(frozen=True)
class Shown:
    """What a report is written of; see `write_report`."""

    results: Results
    images: Tensor
    draws: Tensor

    def enlarged(self, count: int) -> Shown:
        """The same samples again and again, as many as that."""
        taken = [n % len(self.images) for n in range(count)]
        table = self.results.samples
        rows = [table.rows[n] for n in taken]
        return Shown(replace(self.results, samples=replace(table, rows=rows)), self.images[taken], self.draws[taken])


def rows(count: int, rounds: int) -> list[Row]:
    """Writing the page of `count` samples, and opening it, with the target of the latter."""
    from genuq.report.run.writing import write_report

    with tempfile.TemporaryDirectory() as name:
        shown = small_run(Path(name)).enlarged(count)
        page = Path(name) / "page" / "index.html"
        taken = spent(lambda: write_report(page.parent, shown.results, shown.images, shown.draws))
        size = {"MB of the page": page.stat().st_size / 1e6}
        what = f"report page of {count:,} samples"
        written = Row(f"{what}, written", seconds=taken.seconds, cpu_seconds=taken.cpu_seconds, values=size)
        return [written, opening(page, f"{what}, opened", rounds)]


def opening(page: Path, what: str, rounds: int) -> Row:
    """Opening a page, the median of some rounds; why not, where there is no browser."""
    if absent := lacking():
        return not_run(what, absent, target=TARGET)
    with browser() as driver:
        seconds = statistics.median(seconds_to_open(driver, page) for _ in range(rounds))
    return Row(what, seconds=seconds, ratio=seconds, over="seconds", target=TARGET)


def lacking() -> str | None:
    """What is needed for pages to be opened and is not there."""
    if find_spec("selenium") is None:
        return "selenium is not installed"
    if not (any(map(shutil.which, BROWSERS)) and shutil.which("chromedriver")):
        return "chromium and chromedriver are not installed"
    return None


@contextmanager
def browser() -> Iterator[Any]:
    """A browser without a window, driven by selenium, with a profile of its own."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = next(path for path in map(shutil.which, BROWSERS) if path)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


def seconds_to_open(driver: Any, page: Path, limit: float = 60.0) -> float:
    """Seconds until the page's script has drawn what it shows.

    Raises:
        GenuqError: it has not within `limit` seconds.
    """
    driver.get("about:blank")
    started = time.perf_counter()
    driver.get(page.as_uri())
    while not driver.execute_script(READY):
        if time.perf_counter() - started > limit:
            raise GenuqError(f"{page} was not ready after {limit:.0f} s.")
        time.sleep(0.01)
    return time.perf_counter() - started


def small_run(folder: Path) -> Shown:
    """A run of the shipped glyphs, made in `folder` by a process of its own.

    Raises:
        GenuqError: it failed.
    """
    from genuq.pipeline.stages.sample import DrawnRows, read_samples, shown

    done = ours().run("from genuq.cli.main import main; main()", *RUN, f"store={folder / 'store'}", folder=folder)
    if done.returncode:
        raise GenuqError(f"the run whose page is measured ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    place = folder / "outputs" / "page"
    images = shown(read_samples(place / "sample")["image"], are_images=True)
    draws = DrawnRows(place / "sample", are_images=True)[list(range(len(images)))]
    return Shown(entries.read(place / "report" / RESULTS, Results), images, torch.as_tensor(draws))
