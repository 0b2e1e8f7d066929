"""The page in real Chromium: it shows its images and plots, answers to mouse and keyboard, and asks for nothing."""

import copy

import numpy as np
import pytest

from genuq.analysis.evaluation_entries import PROMPT
from genuq.report.drawing.heat import HeatScale, overlay
from genuq.report.run.writing import write_report
from support.browsing import HOSTILE, asked_for, find, opened, prefer, scroll_width
from support.made_run import typed

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

RESET = """document.getElementById("detail").close();
state.sort = SORTS[0]; state.chosen = ""; state.order = []; state.start = 0; show();
document.getElementById("sort").value = 0; document.getElementById("class").value = "";"""


@pytest.fixture
def images_page(browser, whole_report):
    """The page as it opens; loaded again only when a test has left it."""
    index = whole_report / "index.html"
    if browser.current_url != index.as_uri():
        opened(browser, index)
    browser.execute_script(RESET)
    yield browser
    assert browser.get_log("browser") == []


@pytest.fixture
def rich_page(browser, rich_report):
    """The page of the run with everything, as it opens."""
    index = rich_report / "index.html"
    if browser.current_url != index.as_uri():
        opened(browser, index)
    browser.execute_script(RESET + "if (!heated) toggleHeat();")
    yield browser
    assert browser.get_log("browser") == []


@pytest.fixture
def points_page(browser, point_run, tmp_path):
    yield opened(browser, write_report(tmp_path, typed(point_run[0]), *point_run[1:]))
    assert browser.get_log("browser") == []


def samples_in(page, holder):
    return [int(tile.get_attribute("data-sample")) for tile in find(page, f"#{holder} .tile")]


def ink(page, selector):
    """Standard deviation of the pixels of each canvas or image."""
    return page.execute_script(
        """return [...document.querySelectorAll(arguments[0])].map((source) => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [source.naturalWidth || source.width, source.naturalHeight || source.height];
        canvas.getContext("2d").drawImage(source, 0, 0);
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        const mean = data.reduce((sum, value) => sum + value, 0) / data.length;
        return Math.sqrt(data.reduce((sum, value) => sum + (value - mean) ** 2, 0) / data.length); })""",
        selector,
    )


def grey(page, selector, place=0):
    """First channel of a canvas of 28 x 28 pixels."""
    script = "return [...document.querySelectorAll(arguments[0])[arguments[1]].getContext('2d')"
    values = page.execute_script(f"{script}.getImageData(0, 0, 28, 28).data]", selector, place)
    return np.reshape(values, (28, 28, 4))[..., 0]


def test_images_and_plots_are_there(images_page):
    sheets = find(images_page, "#sheets img")
    assert len(sheets) == 2 and all(int(sheet.get_property("naturalWidth")) > 0 for sheet in sheets)
    for selector, least in (("#sheets img", 2), ("#low canvas", 24), ("#high canvas", 24), ("#strip canvas", 24)):
        values = ink(images_page, selector)
        assert len(values) == least and min(values) > 5
    drawings = find(images_page, ".plot svg")
    assert len(drawings) == 10 and all(drawing.size["height"] > 60 for drawing in drawings)


def test_a_tile_shows_the_pixels_of_its_sample(images_page, run):
    sample = samples_in(images_page, "high")[0]
    np.testing.assert_array_equal(grey(images_page, "#high canvas"), run[1][sample, 0])


def test_nothing_is_fetched(browser, whole_report):
    images_page = opened(browser, whole_report / "index.html")
    find(images_page, "#high .tile")[0].send_keys(Keys.ENTER)
    asked = asked_for(images_page)
    assert asked and all(url.startswith(("file:", "data:")) for url in asked)


def test_sorting_orders_by_the_chosen_column(images_page, run):
    table = run[0]["samples"]
    for label, column in (("Random", "score_random"), ("Confidence", "confidence")):
        Select(find(images_page, "#sort")[0]).select_by_visible_text(label)
        values = [row[table["columns"].index(column)] for row in table["rows"]]
        expected = sorted(range(len(values)), key=values.__getitem__)
        assert samples_in(images_page, "low") == expected[:24]
        assert samples_in(images_page, "high") == expected[::-1][:24]
    assert find(images_page, "#low-title")[0].text == "Lowest confidence"


def test_where_rules_say_what_is_wrong_tiles_are_marked_by_them(browser, run, tmp_path):
    """In place of what the judge sees."""
    results, images, draws = copy.deepcopy(run[0]), *run[1:]
    table, faults = results["samples"], ["valid", "valid", "rule_broken"]
    table["columns"] = [*table["columns"], "fault", "defect_size"]
    table["rows"] = [[*row, faults[place % 3], 0.0] for place, row in enumerate(table["rows"])]
    total, wrong = len(table["rows"]), len(table["rows"]) // 3
    results["truth"] = {
        "bad": ["rule_broken"],
        "counts": {"rule_broken": wrong},
        "valid": total - wrong,
        "samples": total,
        "tolerance": 1.0,
    }
    page = opened(browser, write_report(tmp_path, typed(results), images, draws))
    marked = [bool(tile.find_elements("css selector", ".mark")) for tile in find(page, "#low .tile")]
    assert marked == [sample % 3 == 2 for sample in samples_in(page, "low")] and len(set(marked)) == 2
    valid = round(100 * (24 - sum(marked)) / 24)
    assert find(page, "#low-tally")[0].text == f"Of these 24: {valid} % valid by the rules of the data"
    assert "wrong by the rules" in find(page, ".key")[0].text and "class" not in find(page, ".key")[0].text


def test_the_class_filter_shows_that_class_only(images_page, run):
    Select(find(images_page, "#class")[0]).select_by_visible_text("Ring")
    rows = run[0]["samples"]["rows"]
    members = {index for index, row in enumerate(rows) if row[2] == "Ring"}
    assert set(samples_in(images_page, "low")) | set(samples_in(images_page, "strip")) <= members
    assert find(images_page, "#count")[0].text == f"{len(members)} samples"


def test_the_slider_walks_from_one_end_to_the_other(images_page, run):
    slider = find(images_page, "#position")[0]
    slider.send_keys(Keys.HOME)
    assert samples_in(images_page, "strip") == samples_in(images_page, "low")
    slider.send_keys(Keys.END)
    assert samples_in(images_page, "strip") == samples_in(images_page, "high")[::-1]
    assert "41 to 64 of 64" in find(images_page, "#where")[0].text


def test_the_keyboard_opens_walks_and_closes(images_page):
    order = samples_in(images_page, "low")
    tile = find(images_page, "#low .tile")[0]
    tile.send_keys(Keys.ARROW_RIGHT)
    focused = images_page.switch_to.active_element
    assert int(focused.get_attribute("data-sample")) == order[1]
    focused.send_keys(Keys.ENTER)
    dialog = find(images_page, "#detail")[0]
    assert dialog.get_property("open") and f"Sample {order[1]} " in find(images_page, "#detail-title")[0].text
    assert len(find(images_page, "#versions canvas")) == 1 + 3 + 1 and min(ink(images_page, "#versions canvas")) > 1
    images_page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert f"Sample {order[2]} " in find(images_page, "#detail-title")[0].text
    images_page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog.get_property("open")
    assert images_page.switch_to.active_element == focused


def test_the_dialog_shows_the_draws_of_its_sample(images_page, run):
    tile = find(images_page, "#high .tile")[0]
    sample = int(tile.get_attribute("data-sample"))
    tile.send_keys(Keys.ENTER)
    for draw in range(3):
        np.testing.assert_array_equal(grey(images_page, "#versions canvas", draw + 1), run[2][sample, draw, 0])


def test_arrows_slide_the_window_past_its_edge(images_page):
    find(images_page, "#position")[0].send_keys(Keys.HOME)
    before = samples_in(images_page, "strip")
    find(images_page, "#strip .tile")[0].send_keys(Keys.END)
    images_page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    after = samples_in(images_page, "strip")
    assert after[:-1] == before[1:]
    assert int(images_page.switch_to.active_element.get_attribute("data-sample")) == after[-1]


def test_a_chip_brings_its_score_forward(images_page):
    images_page.execute_script("document.querySelectorAll('.chip')[1].click()")
    assert find(images_page, ".chip")[1].get_attribute("aria-pressed") == "true"
    forward = find(images_page, ".plot .forward")
    assert forward and {part.get_attribute("data-series") for part in forward} == {"1"}


def test_terms_explain_themselves_on_focus(images_page):
    images_page.execute_script("document.querySelector('.term[aria-describedby=term-auroc]').focus()")
    tip = find(images_page, "#tip")[0]
    assert tip.is_displayed() and "0.5 is chance" in tip.text
    images_page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()


@pytest.mark.parametrize("width", [390, 1280])
def test_no_sideways_scrolling(images_page, width):
    assert scroll_width(images_page, width) <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_colour_schemes(images_page, scheme):
    prefer(images_page, color_scheme=scheme)
    page, line = images_page.execute_script(
        "return [document.body, document.querySelector('.plot [data-series] path')].map((e) => getComputedStyle(e))"
        ".map((style, i) => [style.backgroundColor, style.stroke][i])"
    )
    assert (page, line) == {
        "light": ("rgb(250, 249, 246)", "rgb(0, 103, 165)"),
        "dark": ("rgb(20, 23, 27)", "rgb(99, 179, 240)"),
    }[scheme]
    prefer(images_page)


def pixels(page, selector, place=0):
    """A canvas of 28 x 28 pixels as (3, 28, 28)."""
    script = "return [...document.querySelectorAll(arguments[0])[arguments[1]].getContext('2d')"
    values = page.execute_script(f"{script}.getImageData(0, 0, 28, 28).data]", selector, place)
    return np.reshape(values, (28, 28, 4))[..., :3].transpose(2, 0, 1)


def heated(rich, sample):
    """What a sample looks like under its heat."""
    levels = HeatScale.of(rich["maps"]).levels(rich["maps"])
    return overlay(rich["images"], levels)[sample]


def test_the_hottest_come_first_under_their_heat(rich_page, rich):
    hottest = np.sort(rich["maps"].reshape(48, -1).astype(float) ** 2, axis=1)[:, -8:].mean(1)  # a hundredth of 784
    order = np.argsort(-hottest, kind="stable")[:24]
    assert samples_in(rich_page, "hot") == order.tolist()
    for place in (0, 23):
        np.testing.assert_allclose(pixels(rich_page, "#hot canvas", place), heated(rich, order[place]), atol=3)


def test_heat_is_hidden_and_shown_by_button_and_by_key(rich_page, rich):
    sample = samples_in(rich_page, "hot")[0]
    toggles = find(rich_page, ".heat-toggle")
    rich_page.execute_script("arguments[0].focus()", toggles[0])
    toggles[0].send_keys(Keys.ENTER)
    assert [toggle.get_attribute("aria-pressed") for toggle in toggles] == ["false", "false"]
    np.testing.assert_array_equal(pixels(rich_page, "#hot canvas")[0], rich["images"][sample, 0])
    rich_page.switch_to.active_element.send_keys("h")
    assert [toggle.get_attribute("aria-pressed") for toggle in toggles] == ["true", "true"]
    np.testing.assert_allclose(pixels(rich_page, "#hot canvas"), heated(rich, sample), atol=3)


def test_typing_in_the_tools_leaves_the_heat_alone(rich_page):
    find(rich_page, "#class")[0].send_keys("h")
    assert find(rich_page, ".heat-toggle")[0].get_attribute("aria-pressed") == "true"


def test_the_dialog_shows_and_says_the_map(rich_page, rich):
    find(rich_page, "#hot .tile")[0].send_keys(Keys.ENTER)
    sample = samples_in(rich_page, "hot")[0]
    canvas = find(rich_page, "#versions .by-map canvas")[0]
    one = rich["maps"][sample]
    assert f"{one.max():.2g}" in canvas.get_attribute("aria-label")
    np.testing.assert_allclose(pixels(rich_page, "#versions .by-map canvas"), heated(rich, sample), atol=3)
    rich_page.switch_to.active_element.send_keys("h")
    np.testing.assert_array_equal(pixels(rich_page, "#versions .by-map canvas")[0], rich["images"][sample, 0])
    rich_page.switch_to.active_element.send_keys("h")
    np.testing.assert_allclose(pixels(rich_page, "#versions .by-map canvas"), heated(rich, sample), atol=3)


def test_the_colour_bar_has_the_numbers_of_the_scale(rich_page, rich):
    for bar in (0, 1):
        ticks = rich_page.execute_script(
            "return [...document.querySelectorAll('.heat-bar')[arguments[0]].querySelectorAll('b')]"
            ".map((tick) => tick.textContent)",
            bar,
        )
        assert ticks == HeatScale.of(rich["maps"]).ticks()


def test_every_posterior_has_its_card_and_its_curves(rich_page):
    cards = find(rich_page, "#posterior details.scale")
    assert [bool(card.get_property("open")) for card in cards] == [True, False, False]
    summary = find(cards[1], "summary")[0]
    rich_page.execute_script("arguments[0].focus()", summary)
    summary.send_keys(Keys.ENTER)
    assert cards[1].get_property("open")
    drawings = [len(find(card, ".plot svg")) for card in cards]
    assert drawings == [1, 2, 0]
    assert all(drawing.size["height"] > 60 for drawing in find(rich_page, "details.scale[open] .plot svg"))


def test_the_choices_of_sorting_are_grouped_by_kind(rich_page):
    groups = [group.get_attribute("label") for group in find(rich_page, "#sort optgroup")]
    assert groups == ["Scores", "Baselines", "Controls", "Oracles", "What the judge sees"]


def test_the_examples_are_there(rich_page, rich):
    values = ink(rich_page, ".example img")
    assert len(values) == 4 * len(rich["examples"]["before"]) and min(values) > 5


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_of_everything_scrolls_sideways(rich_page, width):
    assert scroll_width(rich_page, width) <= width


def test_nothing_of_everything_is_fetched(browser, rich_report):
    rich_page = opened(browser, rich_report / "index.html")
    find(rich_page, "#hot .tile")[0].send_keys(Keys.ENTER)
    asked = asked_for(rich_page)
    assert asked and all(url.startswith(("file:", "data:")) for url in asked)


def test_points_are_shown_in_the_plane(points_page, run):
    assert ink(points_page, "#plane")[0] > 5 and not find(points_page, "#low")
    plane = find(points_page, "#plane")[0]
    plane.send_keys(Keys.ARROW_RIGHT)
    plane.send_keys(Keys.ENTER)
    assert find(points_page, "#detail")[0].get_property("open")
    assert len(find(points_page, "#versions canvas")) == 2
    points_page.switch_to.active_element.send_keys(Keys.ESCAPE)
    WebDriverWait(points_page, 20).until(lambda _: not find(points_page, "#detail")[0].get_property("open"))
    points_page.execute_script("arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })", plane)
    plane.click()
    assert find(points_page, "#detail")[0].get_property("open")


def test_without_an_extractor_the_page_names_what_is_compared(browser, run, point_run, tmp_path):
    for (results, *arrays), space in ((run, "pixels"), (point_run, "coordinates")):
        plain = copy.deepcopy(results)
        plain["likelihood"] |= {"name": "pixel"} if space == "pixels" else {"extractor": None}
        page = opened(browser, write_report(tmp_path / space, typed(plain), *arrays))
        assert f"scored in {space}," in find(page, ".setting")[0].text
        assert browser.get_log("browser") == []


def test_of_points_in_more_dimensions_the_first_two_coordinates_are_shown(browser, point_run, tmp_path):
    results, points, draws = point_run
    deeper = [np.concatenate([one, 9 + one, 0 * one], -1) for one in (points, draws)]
    flat, deep = (
        opened(browser, write_report(tmp_path / name, typed(results), *arrays)).execute_script("return DATA.points")
        for name, arrays in (("flat", (points, draws)), ("deep", deeper))
    )
    assert deep == flat
    assert "the first two of 6 coordinates" in find(browser, ".plane")[0].text
    assert "the first two of 6 coordinates" in (tmp_path / "deep" / "plots" / "samples.svg").read_text()
    assert browser.get_log("browser") == []


def test_hostile_names_are_shown_and_do_nothing(browser, run, tmp_path):
    results, images, draws = run
    results["scores"] = results["scores"][:1]
    results["scores"][0]["label"] = HOSTILE
    for row in results["samples"]["rows"]:
        row[2] = HOSTILE
    page = opened(browser, write_report(tmp_path, typed(results), images, draws))
    find(page, "#high .tile")[0].send_keys(Keys.ENTER)
    assert HOSTILE in find(page, "#detail-title")[0].text
    assert HOSTILE in find(page, "#detail-scores")[0].text
    assert page.execute_script("return window.hacked") is None
    assert browser.get_log("browser") == []


LONG = "an oil painting of two small blue dogs " * 6 + HOSTILE


@pytest.fixture
def prompted(run):
    """The run as one of text to image: prompts in place of classes, CLIP scores beside the judge's."""
    results = copy.deepcopy(run[0])
    table = results["samples"]
    columns = [PROMPT if name == "class_name" else name for name in table["columns"]]
    place, asked = columns.index("class"), columns.index(PROMPT)
    results["data"]["class_names"] = ["a red cat", LONG, *(f"prompt {n}" for n in range(2, 10))]
    for n, row in enumerate(table["rows"]):
        row[asked] = results["data"]["class_names"][row[place]]
        row.append(20 + n / 100)
    table["columns"] = [*columns, "clip_score"]
    mean = {"value": 23.5, "low": 23.25, "high": 23.75}
    results["prompts"] = {"count": 10, "beyond_data": True, "model": f"my/clip {HOSTILE}", "clip_score": mean}
    for score in results["scores"]:
        score["correlations"].append(dict(score["correlations"][0], target="clip_score"))
    return results, *run[1:]


def test_prompts_are_shown_as_text_and_cut_with_the_whole_on_hover(browser, prompted, tmp_path):
    page = opened(browser, write_report(tmp_path, typed(prompted[0]), *prompted[1:]))
    notes = {note.get_attribute("title"): note for note in find(page, "#low .prompt, #high .prompt, #strip .prompt")}
    assert "a red cat" in notes and LONG.strip() in notes
    cut = notes[LONG]
    assert cut.text == LONG and page.execute_script("return arguments[0].scrollHeight > arguments[0].clientHeight", cut)
    assert cut.size["height"] < 2 * cut.size["width"]
    choices = [choice.text for choice in Select(find(page, "#class")[0]).options]
    assert choices[1] == "a red cat" and len(choices[2]) == 80 and choices[2].endswith("…")
    assert find(page, "#class-label")[0].text.startswith("Prompt")
    place = next(n for n, row in enumerate(prompted[0]["samples"]["rows"]) if row[2] == LONG)
    page.execute_script("openSample(arguments[0])", place)
    title = find(page, "#detail-title")[0]
    assert len(title.text) == 120 and title.get_attribute("title") == LONG
    told = {fact.find_element("tag name", "dt").text: fact.text for fact in find(page, "#detail-facts > div")}
    assert HOSTILE in told["Prompt"] and "CLIP score" in told and "Class asked for" not in told
    assert page.execute_script("return window.hacked") is None and browser.get_log("browser") == []


def test_clip_score_is_a_column_to_sort_by_and_is_told(browser, prompted, tmp_path):
    page = opened(browser, write_report(tmp_path, typed(prompted[0]), *prompted[1:]))
    Select(find(page, "#sort")[0]).select_by_visible_text("CLIP score")
    assert samples_in(page, "low") == list(range(24))
    assert find(page, "#low-title")[0].text == "Lowest CLIP score"
    assert "CLIP score with its prompt by my/clip" in find(page, "#correlation .about")[0].text
    assert not find(page, ".mark.other") and "another class" not in find(page, ".key")[0].text
    assert "for 10 prompts" in find(page, ".setting")[0].text
