"""The study page in real Chromium: table, lines and dots say what the runs say, by pointer and by keys, from disk."""

import copy
import itertools

import numpy as np
import pytest

from genuq.report.study.data import samples_data
from genuq.report.study.page import render
from support.browsing import HOSTILE, asked_for, find, opened, prefer, scroll_width
from support.made_page import make_study, typed

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

CHOICES = {"model": ["ddpm", "flow"], "posterior": ["kfac", "swag", "exact"]}


@pytest.fixture(scope="module")
def made():
    study = make_study(CHOICES, seeds=2, samples=48)
    for run in study["runs"]:  # the made runs know no bad samples
        table = run["samples"]
        realism = table["columns"].index("realism")
        run["samples"] = {
            "columns": [*table["columns"], "bad"],
            "rows": [[*row, int(row[realism] < 0.9)] for row in table["rows"]],
        }
    return study


@pytest.fixture(scope="module")
def index(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "index.html"
    path.write_text(render(typed(made)))
    return path


@pytest.fixture
def page(browser, index):
    """The page as it opens."""
    yield opened(browser, index)
    assert browser.get_log("browser") == []


def written(study, folder):
    path = folder / "index.html"
    path.write_text(render(typed(study)))
    return path


def rows_of(page):
    """Places of the runs in the order of the table, those that are shown."""
    return page.execute_script(
        "return [...document.querySelectorAll('#table tbody tr')].filter((row) => row.offsetHeight)"
        ".map((row) => Number(row.dataset.run))"
    )


def own(run):
    return run["summary"]["table"][0]


def choose(page, selector, text):
    Select(find(page, selector)[0]).select_by_visible_text(text)


def press(page, selector, *keys):
    """Focus and type, as a reader without a mouse."""
    target = find(page, selector)[0]
    page.execute_script("arguments[0].focus(); arguments[0].scrollIntoView({ block: 'center' })", target)
    target.send_keys(*keys)


def heading(page, column):
    return find(page, f'#table th[data-column="{column}"]')[0]


def test_sorting_by_click_and_by_key(page, made):
    aurocs = [own(run)["auroc"] for run in made["runs"]]
    best_first = sorted(range(12), key=lambda run: (-round(aurocs[run], 4), run))
    button = find(heading(page, "auroc"), "button")[0]
    button.click()
    assert rows_of(page) == best_first and heading(page, "auroc").get_attribute("aria-sort") == "descending"
    button.send_keys(Keys.ENTER)
    assert [round(aurocs[run], 3) for run in rows_of(page)] == sorted(round(auroc, 3) for auroc in aurocs)
    assert heading(page, "auroc").get_attribute("aria-sort") == "ascending"
    press(page, '#table th[data-column="key-1"] button', Keys.SPACE)
    names = [made["runs"][run]["values"][1] for run in rows_of(page)]
    assert names == sorted(names) and heading(page, "auroc").get_attribute("aria-sort") == "none"
    press(page, '#table th[data-column="seconds"] button', Keys.ENTER)
    assert rows_of(page) == sorted(range(12), key=lambda run: made["runs"][run]["seconds"])


def test_missing_numbers_come_last_in_both_directions(browser, made, tmp_path):
    study = copy.deepcopy(made)
    own(study["runs"][3])["auroc"] = None
    page = opened(browser, written(study, tmp_path))
    for _ in range(2):
        find(heading(page, "auroc"), "button")[0].click()
        assert rows_of(page)[-1] == 3


def test_all_filters_must_be_passed_and_the_count_is_told(page, made):
    find(page, "#find")[0].send_keys("flow seed=1")
    assert rows_of(page) == [7, 9, 11]
    assert find(page, "#count")[0].text == "3 of 12 runs" and find(page, "#count")[0].get_attribute("aria-live")
    choose(page, '.filter[data-column="1"]', "swag")
    assert rows_of(page) == [9]
    choose(page, '.filter[data-column="seed"]', "0")
    assert rows_of(page) == [] and find(page, "#nothing")[0].is_displayed()
    find(page, "#unfilter")[0].click()
    assert rows_of(page) == list(range(12)) and find(page, "#count")[0].text == "12 runs"
    assert page.switch_to.active_element == find(page, "#find")[0]


def test_the_numbers_of_another_score(page, made):
    choose(page, "#score", "Random")
    row = next(row for row in made["runs"][0]["summary"]["table"] if row["score"] == "random")
    cells = find(page, '#table tr[data-run="0"] .number')
    places = {"auroc": 2, "adds": 3, "spearman": 2, "fid_gain": 2}
    expected = [f"{row[name]:.{digits}f}".replace("-", "−") for name, digits in places.items()]
    assert [cell.text for cell in cells] == expected
    assert len(find(page, "#table .whisker")) == 12


def drawn_lines(page):
    """Each line of the plot as numbers: read off its path and the ticks' texts, whatever the script believes."""
    found = page.execute_script("""
        const svg = document.getElementById("curves");
        const number = (text) => Number(text.textContent.replace("−", "-").replace(/[,%\\s]/g, ""));
        const texts = [...svg.querySelectorAll("g > text.tick")];
        const at = (anchor, place) => texts.filter((text) => text.getAttribute("text-anchor") === anchor)
            .map((text) => [Number(text.previousSibling.getAttribute(place)), number(text)]);
        const shapes = (kind) => [...svg.querySelectorAll(`.line .${kind}`)].map((shape) => shape.getAttribute("d"));
        return { x: at("middle", "x1"), y: at("end", "y1"), paths: shapes("stroke-of"), bands: shapes("band") };
    """)
    across, up = (np.polyfit(*np.transpose(found[axis]), 1) for axis in "xy")

    def numbers(path):
        pairs = [part.split() for part in path.rstrip("Z").replace("M", "L").split("L")[1:]]
        x, y = np.array(pairs, float).T
        return np.polyval(across, x) / 100, np.polyval(up, y)

    return [numbers(path) for path in found["paths"]], [numbers(path) for path in found["bands"]]


def curves_of(run, score, metric="fid"):
    return run["curves"][score][metric]


def combination(made, place):
    """The two seeds of a combination of choices."""
    return made["runs"][2 * place : 2 * place + 2]


def switch_on(page, *scores):
    """Only these scores, by the chips of the legend."""
    for chip in find(page, '#legend [aria-label="Lines by Score"] .chip'):
        if (chip.get_attribute("aria-pressed") == "true") != (chip.text in scores):
            page.execute_script("arguments[0].click()", chip)


def test_a_line_is_the_mean_over_seeds_with_a_band_from_lowest_to_highest(page, made):
    switch_on(page, "Generative uncertainty")
    lines, bands = drawn_lines(page)
    assert len(lines) == 6
    tall = 0.01 * np.ptp([y for _, line in lines for y in line])
    for place, ((x, y), (_, band)) in enumerate(zip(lines, bands)):
        values = [curves_of(run, "entropy")["value"] for run in combination(made, place)]
        np.testing.assert_allclose(x, curves_of(made["runs"][0], "entropy")["fraction"], atol=0.002)
        np.testing.assert_allclose(y, np.mean(values, 0), atol=tall)
        np.testing.assert_allclose(band[:11], np.min(values, 0), atol=tall)
        np.testing.assert_allclose(band[11:][::-1], np.max(values, 0), atol=tall)


def test_the_selection_drives_the_plots(page, made):
    switch_on(page, "Generative uncertainty")
    press(page, '#table tr[data-run="4"] .pick', Keys.SPACE)
    assert find(page, "#count")[0].text == "12 runs, 1 selected"
    ((_, y),), ((_, band),) = drawn_lines(page)
    curve = curves_of(made["runs"][4], "entropy")
    np.testing.assert_allclose(y, curve["value"], atol=0.01 * np.ptp(band))
    np.testing.assert_allclose(band[:11], curve["low"], atol=0.01 * np.ptp(band))  # of one run, its own interval
    assert find(page, "#dots-caption")[0].text.startswith(made["runs"][4]["name"])
    find(page, "#find")[0].send_keys("ddpm kfac")
    assert find(page, "#count")[0].text == "2 of 12 runs, 1 selected (1 hidden by the filters)"
    find(page, "#unselect")[0].click()
    assert len(drawn_lines(page)[0]) == 1  # the two runs that pass are one line


def test_shift_selects_all_between(page):
    boxes = find(page, ".pick")
    boxes[1].click()
    ActionChains(page).key_down(Keys.SHIFT).click(boxes[4]).key_up(Keys.SHIFT).perform()
    assert [box.is_selected() for box in boxes] == [1 <= place <= 4 for place in range(12)]


def test_metric_and_difference_from_random(page, made):
    switch_on(page, "Generative uncertainty")
    choose(page, "#metric", "Precision")
    press(page, "#against", Keys.SPACE)
    (_, y), *_ = drawn_lines(page)[0]
    pair = [curves_of(run, "entropy", "precision") for run in combination(made, 0)]
    gaps = [np.subtract(curve["value"], curve["random_value"]) for curve in pair]
    np.testing.assert_allclose(y, np.mean(gaps, 0), atol=0.003)
    assert find(page, "#curves .title")[0].text == "Precision less that of random removal"


def test_all_that_is_drawn_lies_within_the_axes(page):
    for scores in (["Generative uncertainty"], ["Generative uncertainty", "Trace of the variance"]):
        switch_on(page, *scores)
        inside = page.execute_script(
            "const { left, right, top, bottom } = curves.frame.box;"
            "const kinds = '#curves :is(.stroke-of, .chance, .random .band, .banded .band)';"
            "const shapes = [...document.querySelectorAll(kinds)];"
            "return shapes.map((shape) => shape.getBBox()).map(({ x, y, width, height }) =>"
            "x >= left && y >= top && x + width <= right && y + height <= bottom)"
        )
        assert len(inside) > 8 and all(inside)


def test_the_legend_switches_lines_off_and_on(page):
    switch_on(page, "Generative uncertainty", "Trace of the variance")
    assert len(drawn_lines(page)[0]) == 12
    chip = next(chip for chip in find(page, "#legend .chip") if chip.text == "swag")
    chip.send_keys(Keys.ENTER)
    assert chip.get_attribute("aria-pressed") == "false" and len(drawn_lines(page)[0]) == 8
    chip.send_keys(Keys.ENTER)
    assert chip.get_attribute("aria-pressed") == "true" and len(drawn_lines(page)[0]) == 12
    none = next(button for button in find(page, "#legend .small") if button.text == "None")
    none.send_keys(Keys.ENTER)
    assert drawn_lines_count(page) == 0 and "No line to show" in find(page, "#curves-caption")[0].text


def drawn_lines_count(page):
    return len(find(page, "#curves .line"))


def test_colours_tell_the_chosen_dimension(page):
    switch_on(page, "Generative uncertainty", "Trace of the variance")

    def hues():
        return page.execute_script(
            "return curves.lines.map((line) => [...line.values, getComputedStyle("
            "document.querySelector(`[data-line='${curves.lines.indexOf(line)}'] .stroke-of`)).stroke])"
        )

    for dimension, label in enumerate(["Model", "Posterior", "Score"]):
        choose(page, "#colour", label)
        pairs = {(line[dimension], line[3]) for line in hues()}
        values, colours = {value for value, _ in pairs}, {colour for _, colour in pairs}
        assert len(pairs) == len(values) == len(colours) > 1


def test_the_lines_in_numbers(page, made):
    switch_on(page, "Generative uncertainty")
    press(page, "#curve-table summary", Keys.ENTER)
    WebDriverWait(page, 20).until(lambda _: find(page, "#curve-table td"))
    cells = find(page, "#curve-table tbody tr:first-child .number")
    means = np.mean([curves_of(run, "entropy")["value"] for run in combination(made, 0)], 0)
    np.testing.assert_allclose([float(cell.text) for cell in cells], means, rtol=0.005)
    assert find(page, "#curve-table tbody td")[0].text == "2"


def test_arrows_walk_the_lines_and_say_where(page, made):
    switch_on(page, "Generative uncertainty")
    press(page, "#curves", Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    readout = find(page, "#readout")[0]
    assert readout.is_displayed() and readout.text.startswith("95 % kept")
    means = [np.mean([curves_of(run, "entropy")["value"][1] for run in combination(made, p)]) for p in range(6)]
    assert "ddpm · kfac" in find(page, "#curves-said")[0].get_attribute("textContent")
    press(page, "#curves", *[Keys.ARROW_UP] * 6)
    highest = list(itertools.product(*CHOICES.values()))[int(np.argmax(means))]
    assert " · ".join(highest) in find(page, "#curves-said")[0].get_attribute("textContent")
    assert len(find(page, "#curves .forward")) == 1
    press(page, "#curves", Keys.ESCAPE)
    assert not readout.is_displayed() and not find(page, "#curves .forward")


def test_the_pointer_reads_the_nearest_line(page):
    switch_on(page, "Generative uncertainty")
    svg = find(page, "#curves")[0]
    page.execute_script("arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })", svg)
    ActionChains(page).move_to_element(svg).perform()
    assert find(page, "#readout")[0].is_displayed() and len(find(page, "#readout .strong")) == 1


def dot_places(page):
    """Sample, x and y in units of the axes, and whether it is drawn as bad."""
    return page.execute_script(
        "return [...document.querySelectorAll('#dots .dot')].map((dot) => { const box = dot.getBBox();"
        "const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];"
        "return [Number(dot.dataset.sample), x, y, dot.classList.contains('bad')]; })"
    )


def column(run, name):
    table = run["samples"]
    return np.array([row[table["columns"].index(name)] for row in table["rows"]], float)


@pytest.mark.parametrize("ranked", [True, False])
def test_dots_lie_at_score_and_realism(page, made, ranked):
    run = made["runs"][2]
    choose(page, "#scatter-run", f"3: {run['name']}")
    choose(page, "#scatter-score", "Trace of the variance")
    if not ranked:
        press(page, "#ranked", Keys.SPACE)
    samples, x, y, bad = np.transpose(dot_places(page))
    samples = samples.astype(int)
    assert sorted(samples) == list(range(48))
    score, realism = column(run, "score_trace")[samples], column(run, "realism")[samples]
    across = np.argsort(np.argsort(score)) if ranked else score
    assert np.corrcoef(x, across)[0, 1] > 0.99999 and np.corrcoef(y, -realism)[0, 1] > 0.99999
    np.testing.assert_array_equal(bad.astype(bool), column(run, "bad")[samples] == 1)


def seen(page):
    """First channel of the image that is shown."""
    script = "return [...document.getElementById('look-image').getContext('2d').getImageData(0, 0, 28, 28).data]"
    return np.reshape(page.execute_script(script), (28, 28, 4))[..., 0]


def test_keys_walk_along_the_ranking_with_the_image(page, made):
    run = made["runs"][0]
    order = np.argsort(column(run, "score_entropy"), kind="stable")
    look = find(page, "#look")[0]
    for keys, rank in (
        ([Keys.ARROW_RIGHT], 0),
        ([Keys.ARROW_RIGHT], 1),
        ([Keys.PAGE_DOWN], 0),
        ([Keys.PAGE_UP], 16),
        ([Keys.END], 47),
        ([Keys.ARROW_RIGHT], 47),
        ([Keys.ARROW_LEFT], 46),
        ([Keys.HOME], 0),
    ):
        press(page, "#dots", *keys)
        assert look.is_displayed() and f"Sample {order[rank]}\n" in look.text + "\n"
        np.testing.assert_array_equal(seen(page), run["images"][order[rank], 0])
        assert f"Rank {rank + 1} of 48" in find(page, "#dots-said")[0].get_attribute("textContent")
    press(page, "#dots", Keys.ESCAPE)
    assert not look.is_displayed() and not find(page, "#dots .ring")


def test_the_image_is_under_the_pointer(page, made):
    svg = find(page, "#dots")[0]
    page.execute_script("arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })", svg)
    dot = find(page, "#dots .dot")[20]
    ActionChains(page).move_to_element(dot).perform()
    look = find(page, "#look")[0]
    sample = int(dot.get_attribute("data-sample"))
    assert look.is_displayed() and f"Sample {sample}" in look.text
    np.testing.assert_array_equal(seen(page), made["runs"][0]["images"][sample, 0])
    box, ring = look.rect, dot.rect
    assert box["x"] >= 0 and abs(box["x"] - ring["x"]) < 420 and abs(box["y"] - ring["y"]) < 320
    ActionChains(page).move_to_element(find(page, "#scatter-title")[0]).perform()
    assert not look.is_displayed()


def test_links_lead_to_the_reports_that_are_there(page, made):
    links = page.execute_script("return [...document.querySelectorAll('#table a')].map((a) => a.getAttribute('href'))")
    assert links == [run["report"] for run in made["runs"] if run["report"]]


def test_every_control_can_be_reached_by_tab(page):
    wanted = {"theme", "find", "filter", "score", "sort", "pick", "metric", "colour", "against", "chip toggle"}
    wanted |= {"curves", "dots", "scatter-run", "scatter-score", "ranked", "copy", "skip"}
    reached, body = set(), find(page, "body")[0]
    page.execute_script("document.activeElement.blur()")
    body.send_keys(Keys.TAB)
    for _ in range(150):
        here = page.switch_to.active_element
        reached.add(page.execute_script("return arguments[0].id || arguments[0].className", here))
        if wanted <= reached:
            break
        here.send_keys(Keys.TAB)
    assert wanted <= reached, wanted - reached


CONTRASTS = """
const rgb = (text) => {
  const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
  context.fillStyle = text;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const transparent = (text) => /, 0\\)$|^transparent$|\\/ 0\\)$/.test(text);
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (!transparent(colour)) return rgb(colour);
  }
};
const shown = (element) => element.getClientRects().length && element.textContent.trim();
const ink = (element) => getComputedStyle(element)[element.closest("svg") ? "fill" : "color"];
return [...document.querySelectorAll(arguments[0])].filter(shown)
  .map((element) => [element.textContent.trim().slice(0, 30), rgb(ink(element)), ground(element)]);
"""
TEXTS = """.number, .interval, .verdict, thead th, .sort, .chip, .small, .caption, figcaption, .hint, .key span, .tick,
.label, .title, .lines li, td, #table a, .about"""


def luminance(colour):
    """WCAG 2.1."""
    share = np.array(colour) / 255
    return float(np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_colour_schemes(page, scheme):
    prefer(page, color_scheme=scheme)
    found = page.execute_script(CONTRASTS, TEXTS)
    prefer(page)
    assert len(found) > 200
    for text, *colours in found:
        low, high = sorted(map(luminance, colours))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, colours)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_colour_schemes(page, scheme):
    prefer(page, color_scheme=scheme)
    ground, line = page.execute_script(
        "return ['body', '#curves .stroke-of'].map((name) => getComputedStyle(document.querySelector(name)))"
        ".map((style, i) => [style.backgroundColor, style.stroke][i])"
    )
    prefer(page)
    assert (ground, line) == {
        "light": ("rgb(250, 249, 246)", "rgb(178, 74, 0)"),
        "dark": ("rgb(20, 23, 27)", "rgb(242, 146, 90)"),
    }[scheme]


def test_nothing_moves_for_who_wants_no_motion(page):
    duration = "return getComputedStyle(document.querySelector('#curves .line')).transitionDuration"
    assert page.execute_script(duration) != "0s"
    prefer(page, reduced_motion="reduce")
    assert page.execute_script(duration) == "0s"
    prefer(page)


@pytest.mark.parametrize("width", [390, 1280])
def test_no_sideways_scrolling(page, width):
    assert scroll_width(page, width) <= width


def test_long_names_do_not_widen_the_page(browser, made, tmp_path):
    study = copy.deepcopy(made)
    long = "a_name_without_any_place_to_break_it_" * 4
    study |= {"name": long, "keys": [long, "posterior"], "commands": [long], "absent": [long], "question": long}
    for run in study["runs"]:
        run |= {"name": long, "values": [long + run["values"][0], run["values"][1]]}
        for row in run["summary"]["table"]:
            row["label"] = long + row["label"]
    page = opened(browser, written(study, tmp_path))
    assert scroll_width(page, 390) <= 390


def test_nothing_is_fetched(page):
    press(page, "#dots", Keys.ARROW_RIGHT)
    asked = asked_for(page)
    assert asked and all(url.startswith(("file:", "data:")) for url in asked)


def test_of_points_in_more_dimensions_a_study_shows_the_first_two_coordinates():
    study = make_study({"posterior": ["kfac"]}, seeds=1, points=True)
    flat, deep = copy.deepcopy(study), copy.deepcopy(study)
    for run in deep["runs"]:
        run["images"] = np.concatenate([run["images"], 9 + run["images"]], 1)
    shown = [samples_data(typed(one).runs)[0][0]["points"] for one in (flat, deep)]
    assert shown[0] == shown[1]


def test_points_are_shown_in_the_plane(browser, tmp_path):
    study = make_study({"posterior": ["kfac"]}, seeds=1, points=True)
    page = opened(browser, written(study, tmp_path))
    press(page, "#dots", Keys.ARROW_RIGHT)
    sample = int(np.argmin(column(study["runs"][0], "score_entropy")))
    x, y = study["runs"][0]["images"][sample]
    look = find(page, "#look")[0]
    assert f"Sample {sample}" in look.text
    told = look.text.splitlines()
    places = [float(part) for part in told[told.index("x₁, x₂") + 1].replace("−", "-").split(", ")]
    np.testing.assert_allclose(places, [x, y], rtol=0.01)
    ink = page.execute_script(
        "const { width, height } = document.getElementById('look-image');"
        "const context = document.getElementById('look-image').getContext('2d');"
        "return new Set(context.getImageData(0, 0, width, height).data).size"
    )
    assert ink > 5 and not find(page, "#sheets img")
    assert browser.get_log("browser") == []


def test_hostile_names_are_shown_and_do_nothing(browser, made, tmp_path):
    study = copy.deepcopy(made)
    study |= {"name": HOSTILE, "keys": [HOSTILE, "posterior"], "commands": [HOSTILE], "question": HOSTILE}
    for run in study["runs"]:
        run |= {"name": HOSTILE, "values": [HOSTILE + run["values"][0], run["values"][1]]}
        for row in run["summary"]["table"]:
            row["label"] = f"{row['label']} {HOSTILE}"
        table = run["samples"]
        name = table["columns"].index("class_name")
        run["samples"] = table | {"rows": [[*row[:name], HOSTILE, *row[name + 1 :]] for row in table["rows"]]}
    page = opened(browser, written(study, tmp_path))
    press(page, "#dots", Keys.ARROW_RIGHT)
    assert HOSTILE in find(page, "#look")[0].text
    press(page, "#curves", Keys.ARROW_RIGHT)
    assert HOSTILE in find(page, "#readout")[0].text
    press(page, "#curve-table summary", Keys.ENTER)
    WebDriverWait(page, 20).until(lambda _: find(page, "#curve-table td"))
    assert HOSTILE in find(page, "#curve-table tbody th")[0].text and HOSTILE in find(page, "#legend .chip")[0].text
    assert page.execute_script("return window.hacked") is None
    assert browser.get_log("browser") == []
