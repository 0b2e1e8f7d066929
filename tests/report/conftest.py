"""Reports that many tests look at, written once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genuq.report.run.writing import write_report
from support import browsing
from support.made_run import FEWER, make_images, make_points, make_results, typed
from support.rich_run import MANY, make_examples, make_maps, make_rich
from support.shared import made_once


@pytest.fixture(scope="session")
def made() -> tuple[dict, np.ndarray, np.ndarray]:
    return make_results(64, 3, FEWER)


@pytest.fixture
def run(made) -> tuple[dict, np.ndarray, np.ndarray]:
    """(results, images, draws) of 64 samples with 3 draws, the test's own to change."""
    results, bad, classes = made
    return copy.deepcopy(results), *make_images(bad, classes, 3)


@pytest.fixture
def results(run) -> dict:
    """The results of `run` alone."""
    return run[0]


@pytest.fixture
def point_run(made) -> tuple[dict, np.ndarray, np.ndarray]:
    """(results, points, draws) of a 2-D model."""
    results, bad, _ = made
    few = copy.deepcopy(results) | {"scores": results["scores"][:2]}
    return few, *make_points(bad, 3)


@pytest.fixture(scope="session")
def whole_report(made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the report of `run`, written once; tests only read it."""
    results, bad, classes = made
    images = make_images(bad, classes, 3)
    return made_once(tmp_path_factory, "report", lambda folder: write_report(folder, typed(results), *images))


@pytest.fixture(scope="session")
def rich() -> dict:
    """Arguments of `write_report` for 48 samples with everything that a run can have; tests only read them."""
    results, bad, classes = make_rich(48, 2, MANY[::3])
    images, draws = make_images(bad, classes, 2)
    maps = make_maps(images, bad)
    examples = make_examples(images, maps)
    return {"results": typed(results), "images": images, "draws": draws, "maps": maps, "examples": examples}


@pytest.fixture(scope="session")
def rich_report(rich, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the report of `rich`, written once; tests only read it."""
    return made_once(tmp_path_factory, "rich", lambda folder: write_report(folder, **rich))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    driver = browsing.start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()
