"""The study page's words and numbers against hand-made runs, and what it does when it cannot hold everything."""

import base64
import copy
import hashlib
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from genuq.report.study import data as study_data
from genuq.report.study import page as study_page
from genuq.report.study.data import embedded, samples_data
from support.browsing import HOSTILE
from support.made_page import make_study, typed


@pytest.fixture(scope="module")
def made() -> dict:
    return make_study({"model": ["ddpm", "flow"], "posterior": ["kfac", "swag"]}, seeds=2, samples=48)


@pytest.fixture
def study(made) -> dict:
    return copy.deepcopy(made)


def data_of(page: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_the_script_gets_the_curves_and_numbers_of_every_score(study):
    data = data_of(study_page.render(typed(study)))
    assert [metric["name"] for metric in data["metrics"]] == ["fid", "precision", "recall"]
    for run, entry in zip(study["runs"], data["runs"]):
        assert data["fractions"][entry["fractions"]] == run["curves"]["entropy"]["fid"]["fraction"]
        for place, score in enumerate(data["scores"]):
            source = run["curves"][score["name"]]
            line = next(row for row in run["summary"]["table"] if row["score"] == score["name"])
            ends = [
                line[f"{name}{end}"]
                for name in ("auroc", "spearman", "fid_gain", "adds")
                for end in ("", "_low", "_high")
            ]
            np.testing.assert_allclose(entry["numbers"][place][:12], ends, rtol=1e-3)
            assert entry["numbers"][place][12] == run["evaluations"][score["name"]]
            if score["name"] == "random":
                assert entry["curves"][place] is None  # its band is drawn instead
                continue
            for metric, curve in source.items():
                wanted = [curve[end] for end in ("value", "low", "high")]
                np.testing.assert_allclose(entry["curves"][place][metric], wanted, rtol=1e-3)
        chance = run["curves"]["entropy"]["recall"]
        wanted = [chance[f"random_{end}"] for end in ("value", "low", "high")]
        np.testing.assert_allclose(entry["random"]["recall"], wanted, rtol=1e-3)


def test_a_study_with_too_many_curves_leaves_their_intervals_out_and_says_so(study, monkeypatch):
    assert "too many curves" not in study_page.render(typed(study))
    monkeypatch.setattr(study_data, "CURVE_NUMBERS", 100)
    page = study_page.render(typed(study))
    assert "too many curves" in page
    assert all(len(ends) == 1 for run in data_of(page)["runs"] for ends in run["curves"][0].values())


def decoded(page: str) -> dict[str, np.ndarray]:
    """Pixels of each sprite sheet, by its name."""
    found = re.findall(r'data-kind="(\w+)" src="data:image/\w+;base64,([^"]+)"', page)
    return {name: np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for name, text in found}


def test_runs_with_the_same_images_share_a_sheet_and_find_their_pixels_in_it(study):
    study["runs"][7]["images"] = 255 - study["runs"][7]["images"]
    page = study_page.render(typed(study))
    data, sheets = data_of(page), decoded(page)
    names = [samples["sheet"] for samples in data["samples"]]
    assert (
        names[0] == names[2] != names[1] and len(set(names)) == len(sheets) == 3
    )  # a made run's images are its seed's
    for run, name in zip(study["runs"], names):
        layout = data["sprites"][name]
        for place in (0, 17, 47):
            row, column = divmod(place, layout["columns"])
            tile = sheets[name][28 * row : 28 * row + 28, 28 * column : 28 * column + 28]
            np.testing.assert_array_equal(tile, run["images"][place, 0])


def test_images_keep_to_the_budget_however_many_runs_there_are(study, monkeypatch):
    noise = np.random.default_rng(0)
    for run in study["runs"]:
        run["images"] = noise.integers(0, 256, (48, 3, 64, 64), dtype=np.uint8)
    monkeypatch.setattr(study_data, "IMAGE_BYTES", 400_000)
    _, images = samples_data(typed(study).runs)
    assert len(images) == 8
    assert sum(len(sheet) for group in images.values() for sheet in group.sheets) <= 400_000 * 4 / 3


def test_samples_of_some_runs_only(study):
    for run in study["runs"][2:]:
        run |= {"samples": None, "images": None}
    study["samples_total"] = 1000
    page = " ".join(study_page.render(typed(study)).split())
    assert [samples is not None for samples in data_of(page)["samples"]] == [True] * 2 + [False] * 6
    assert "This page holds the samples of 2 of 8 runs" in page and "at most 48 samples" in page


def test_a_study_without_samples_or_curves_still_has_its_table(study):
    for run in study["runs"]:
        run |= {"samples": None, "images": None, "curves": {}, "missing": ["evaluate"]}
    page = study_page.render(typed(study))
    assert "no longer in the store" in page and page.count("<tr data-run=") == 8
    assert data_of(page)["metrics"] == []


def test_a_study_of_which_nothing_is_evaluated_yet(study):
    study |= {"runs": [], "keys": [], "unevaluated": ["first"], "samples_shown": 0, "samples_total": 0}
    page = study_page.render(typed(study))
    assert "No run of this study has been evaluated yet." in page and "1 run (first)" in page


def test_missing_numbers_are_dashes(study):
    row = study["runs"][0]["summary"]["table"][0]
    row |= {f"auroc{end}": None for end in ("", "_low", "_high")}
    page = study_page.render(typed(study))
    first = page[page.index('<tr data-run="0">') : page.index('<tr data-run="1">')]
    assert '<span class="number">–</span>' in first
    assert embedded(typed(study)).data["runs"][0]["numbers"][0][0] is None


def test_only_its_own_script_may_run_and_nothing_may_be_fetched(study):
    page = study_page.render(typed(study))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert len(script) == 1 and f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy


def test_hostile_names_are_escaped_everywhere(study):
    study |= {"name": HOSTILE, "question": HOSTILE, "commands": [HOSTILE, HOSTILE + "2"], "page_command": HOSTILE}
    study |= {"keys": [HOSTILE, "posterior"], "unevaluated": [HOSTILE], "absent": [HOSTILE], "left_out": [HOSTILE]}
    for run in study["runs"]:
        run |= {"name": HOSTILE, "command": HOSTILE, "values": [HOSTILE, run["values"][1]], "report": HOSTILE}
        for row in run["summary"]["table"]:
            row["label"] = HOSTILE
        run["summary"]["spearman_target"] = HOSTILE
    page = study_page.render(typed(study))
    assert "<img src=x" not in page and "<script>window" not in page
    assert data_of(page)["runs"][0]["values"][0] == HOSTILE


def test_filters_have_one_choice_for_each_value_in_natural_order(study):
    for place, run in enumerate(study["runs"]):
        run["values"] = [str(10 ** (place % 3)), "same"]
    found = {entry["name"]: entry["values"] for entry in study_page.filters(typed(study))}
    assert found["model"] == ["1", "10", "100"] and found["seed"] == ["0", "1"] and "posterior" not in found
