"""The folder of a report: whole files, strict formats, clear refusals."""

import copy
import itertools
import json
import math
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from genuq.analysis.results import Results
from genuq.analysis.score_entries import NOTHING, IntervalRow
from genuq.entries import from_json
from genuq.errors import DataError
from genuq.report.drawing import document
from genuq.report.run import page, writing
from genuq.report.run.application import checked_examples
from genuq.report.run.writing import write_report
from support.made_run import make_images, typed
from support.rich_run import make_examples, make_maps, make_rich

HOSTILE = "<script>window.hacked = 1</script>"
ENDS = ("value", "low", "high", "random_value", "random_low", "random_high")


class Reader(HTMLParser):
    """Collects ids, references to them, addresses, headings and text."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.references, self.addresses, self.tags, self.text = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append((tag, values))
        self.ids += [values["id"]] if "id" in values else []
        for name in ("aria-describedby", "aria-labelledby", "for"):
            self.references += (values.get(name) or "").split()
        self.addresses += [values[name] for name in ("src", "href", "xlink:href", "action") if values.get(name)]

    def handle_data(self, data):
        self.text.append(data)


def read(folder):
    return Reader((folder / "index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def written(whole_report):
    return whole_report, read(whole_report)


@pytest.fixture(scope="module", params=["whole_report", "rich_report"])
def reader(request):
    """Of the page of a usual run, and of that of a run with everything."""
    return read(request.getfixturevalue(request.param))


def test_the_folder_has_every_file_and_no_rest(written):
    folder, _ = written
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    plots = {
        f"plots/{name}.{kind}" for name in ("retention", "bins", "correlations", "draws") for kind in ("png", "svg")
    }
    grids = {"plots/most_certain.png", "plots/most_uncertain.png"}
    assert names == {"index.html", "results.json", "results.csv", "summary.md"} | plots | grids


def test_the_plots_are_images_with_ink(written):
    for path in (written[0] / "plots").glob("*.png"):
        image = np.asarray(Image.open(path).convert("L"))
        assert image.std() > 5, path.name


def test_the_page_needs_nothing_but_itself(reader):
    assert all(address.startswith(("#", "data:")) for address in reader.addresses)
    assert not [tag for tag, _ in reader.tags if tag in ("iframe", "object", "embed")]
    policy = next(
        values["content"] for tag, values in reader.tags if values.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy


def test_ids_are_unique_and_references_resolve(reader):
    assert len(set(reader.ids)) == len(reader.ids)
    assert set(reader.references) <= set(reader.ids)
    assert {address[1:] for address in reader.addresses if address.startswith("#")} <= set(reader.ids)


def test_pictures_have_words_and_headings_do_not_skip(reader):
    assert all("alt" in values for tag, values in reader.tags if tag == "img")
    assert all(values.get("aria-label") for _, values in reader.tags if values.get("role") == "img")
    levels = [int(tag[1]) for tag, _ in reader.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_the_page_says_command_configuration_judge_and_warnings(written, run):
    text = " ".join(" ".join(written[1].text).split())
    results = run[0]
    for part in (
        results["command"],
        results["summary"]["sentence"],
        results["warnings"][0],
        "independent of the score",
    ):
        assert part in text
    for part in ("steps: 20", "k = 5", "root mean square of 1,024 held-out residuals", "genuq 0.1.0"):
        assert part in text


def test_json_is_strict_and_complete(run, tmp_path):
    results, images, draws = run
    results["scores"][0]["auroc"]["low"] = math.nan
    write_report(tmp_path, from_json(Results, results), torch.from_numpy(images), torch.from_numpy(draws))

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    found = json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
    assert found["scores"][0]["auroc"].pop("low") is None
    expected = copy.deepcopy(results)
    del expected["scores"][0]["auroc"]["low"]
    assert found == expected | {"frontier": [], "pilot": None, "scale": "full"}


def test_a_failure_leaves_the_old_page_and_no_partial_file(run, tmp_path, monkeypatch):
    (tmp_path / "index.html").write_text("old")

    def fail(*_):
        raise RuntimeError("interrupted")

    monkeypatch.setattr(writing, "render_page", fail)
    with pytest.raises(RuntimeError):
        write_report(tmp_path, typed(bare(run)[0]), *bare(run)[1:])
    assert (tmp_path / "index.html").read_text() == "old"
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r, i, d: (r, i[:-1], d), "64 rows, images \\(63, 1, 28, 28\\)"),
        (lambda r, i, d: (r, i, d[:, :, :, :14]), "draws \\(64, 3, 1, 14, 28\\)"),
        (lambda r, i, d: (r, i / 255.0, d), "images must be uint8"),
        (lambda r, i, d: (r, i, i), "draws must be uint8 \\(N, M, C, H, W\\)"),
        (lambda r, i, d: (r, np.zeros((64, 3)), d), "Points must be \\(N, D\\)"),
        (lambda r, i, d: (r, np.zeros((64, 3)), np.zeros((64, 2, 4))), "images \\(64, 3\\) and draws \\(64, 2, 4\\)"),
        (lambda r, i, d: (replace(r, scores=[]), i, d), "at least one sample and one score"),
        (
            lambda r, i, d: (replace(r, scores=[replace(r.scores[0], name="entrpy")]), i, d),
            "Did you mean 'score_entropy'",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused_before_anything_is_written(run, tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        write_report(tmp_path / "new", *change(typed(run[0]), *run[1:]))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("extra", [{"maps": np.zeros((63, 28, 28))}, {"examples": {"befor": np.zeros((1, 1, 8, 8))}}])
def test_wrong_maps_and_examples_are_refused_before_anything_is_written(run, tmp_path, extra):
    with pytest.raises(DataError, match=r"Pixel maps|no part 'befor'.*before"):
        write_report(tmp_path / "new", typed(run[0]), *run[1:], **extra)
    assert not (tmp_path / "new").exists()


def bare(run):
    """The least that a run can have: one score, no metrics, no judge, everything else missing."""
    _, images, draws = run
    rows = [[index, None, None, math.nan if index == 0 else float(index)] for index in range(len(images))]
    ends = [f"{measure}{end}" for measure in ("spearman", "auroc", "fid_gain") for end in ("", "_low", "_high")]
    summary_row = {"score": "entropy", "label": "Entropy", "kind": "score"} | dict.fromkeys(ends) | {"auroc": math.nan}
    answers = dict.fromkeys(("sentence", "finds_bad", "beats_controls", "spearman_target"))
    score = {"name": "entropy", "label": "Entropy", "kind": "score", "correlations": [], "notes": []}
    score |= {"curves": {}, "gains": {}, "bins": {}}
    unknown = ("genuq_version", "command", "data", "model", "sampler", "posterior", "likelihood", "judge")
    return (
        dict.fromkeys(unknown)
        | {
            "name": "bare",
            "config": {},
            "versions": {},
            "posteriors": [],
            "summary": answers | {"table": [summary_row]},
            "scores": [score | dict.fromkeys(("evaluations_per_sample", "per_class_gains", "auroc", "ause"))],
            "samples": {"columns": ["index", "class", "class_name", "score_entropy"], "rows": rows},
        },
        images,
        draws[:, :0],
    )


def test_a_run_with_next_to_nothing_shows_dashes(run, tmp_path):
    reader = Reader(write_report(tmp_path, typed(bare(run)[0]), *bare(run)[1:]).read_text(encoding="utf-8"))
    text = " ".join(reader.text)
    assert text.count("–") > 15
    assert not [word for word in ("None", "nan", "NaN", "Undefined") if f" {word} " in text]
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"most_certain.png", "most_uncertain.png"}


def test_names_are_text_never_markup(run, tmp_path):
    results, images, draws = bare(run)
    results |= {"name": HOSTILE, "command": HOSTILE, "config": {HOSTILE: HOSTILE}, "warnings": [HOSTILE]}
    results |= {
        "data": {"name": HOSTILE, "reference_images": 9, "class_names": [HOSTILE]},
        "judge": run[0]["judge"] | {"extractor": HOSTILE, "independent": False},
    }
    curve = {"fraction": [1.0, 0.5]} | {end: [2.0, 1.0] for end in ENDS}
    results["scores"][0] |= {"label": HOSTILE, "curves": {HOSTILE: curve}}
    text = write_report(tmp_path, typed(results), images, draws).read_text(encoding="utf-8")
    assert HOSTILE not in text
    reader = Reader(text)
    assert len([tag for tag, _ in reader.tags if tag == "script"]) == 2
    assert HOSTILE in "".join(reader.text)
    assert "shares the score's encoder" in "".join(reader.text)


def test_a_run_with_everything_has_its_plots(rich_report):
    names = {path.name for path in (rich_report / "plots").iterdir()}
    assert {"maps.png", "maps.svg", "examples.png", "draws.png"} <= names
    for name in ("maps.png", "examples.png"):
        assert np.asarray(Image.open(rich_report / "plots" / name).convert("L")).std() > 5


def test_a_page_with_everything_says_it(rich, rich_report):
    text = " ".join(" ".join(read(rich_report).text).split())
    found, told = rich["results"], rich["results"].application
    for part in (told.sentence, told.control, found.maps.how, "2.15 times the evaluations"):
        assert part in text
    for part in ("14.2 [13.8, 14.6] 15.8 [15.4, 16.2] −1.6 [−2.1, −1.1] 512", "Class accuracy", "KFAC Laplace"):
        assert part in text
    for part in ("highest log marginal likelihood", "highest held-out predictive density", "spread of its members"):
        assert part in text
    assert "16.30 [16.20, 16.40]" not in text and "16.65 [16.40, 16.90]" in text, "mean and range of two draws"


def test_a_page_without_maps_or_application_has_no_place_for_them(written):
    _, reader = written
    assert not {"application", "hot"} & set(reader.ids)
    assert "What it is good for" not in "".join(reader.text)


def test_the_summary_groups_by_kind(rich_report):
    text = (rich_report / "index.html").read_text(encoding="utf-8")
    table = text[text.index('<table class="summary') :].split("</table>")[0]
    kinds = [name for name in ("Scores", "Baselines", "Controls", "Oracles") if f">{name}</button>" in table]
    places = [table.index(f">{name}</button>") for name in kinds]
    assert len(kinds) == 4 and places == sorted(places)
    assert table.count('scope="row"') == 7 and table.count('scope="rowgroup"') == 4


def test_a_page_of_512_samples_stays_within_two_megabytes():
    results, bad, classes = make_rich(512, 5)
    images, draws = make_images(bad, classes, 5)
    maps = make_maps(images, bad)
    samples, examples = (
        writing.checked(typed(results), images, draws, maps),
        checked_examples(make_examples(images, maps)),
    )
    text = page.render_page(typed(results), samples, examples)
    assert len(results["scores"]) == 19 and len(text.encode()) < 2_000_000


def test_large_runs_show_an_even_selection_with_both_ends(results):
    rows = [[value] for value in np.random.default_rng(0).permutation(100).tolist()]
    results = typed(results | {"samples": {"columns": ["score_entropy"], "rows": rows}})
    shown = page.selection(results, 12)
    values = sorted(rows[index][0] for index in shown)
    assert len(values) == 12 and values[0] == 0 and values[-1] == 99
    assert set(np.diff(values)) == {9}
    assert list(page.selection(results, 100)) == list(range(100))


def test_a_long_headline_is_the_answer_and_its_grounds():
    long = "The score finds bad samples: " + "because of this; " * 10
    assert document.headline(long) == ("The score finds bad samples:", "because of this; " * 10)
    assert document.headline("Short: and whole.") == ("Short: and whole.", "")
    assert document.headline(None) == ("–", "")


def test_the_headline_of_a_smoke_page_is_its_answer_with_the_mark_before_it(run, tmp_path):
    results, *arrays = run
    answer = "The score finds bad samples:"
    summary = results["summary"] | {"sentence": f"{answer} {'because of this; ' * 10}"}
    write_report(tmp_path, typed(results | {"scale": "smoke", "summary": summary}), *arrays)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    opening = text[text.index('<h1 id="headline">') + len('<h1 id="headline">') :].split("<span")[0].strip()
    assert opening == f"scale=smoke: no result · {answer}"


def test_whiskers_share_the_scale_of_their_column():
    rows = [IntervalRow(0.5, 0.0, 1.0), IntervalRow(-1.0, None, None), NOTHING]
    assert document.whisker(rows[0], rows, (0, 0)) == {"middle": 75.0, "low": 50.0, "high": 100.0, "zero": 50.0}
    assert document.whisker(rows[1], rows, (0, 0)) == {"middle": 0.0, "low": 0.0, "high": 0.0, "zero": 50.0}
    assert document.whisker(rows[2], rows, (0, 0)) is None
