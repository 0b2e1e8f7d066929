"""Pixel maps: one honest scale for all samples, and heat that is neither mistaken for image nor hides it."""

import colorsys

import matplotlib
import numpy as np
import pytest
import torch

from genuq.analysis.results import MapsEntry
from genuq.errors import DataError
from genuq.report.drawing import heat
from genuq.report.drawing.heat import HeatScale, as_maps, map_scores, overlay, page_heat, palette

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (6, 1, 5, 4)).astype(np.uint8)
MAPS = RANDOM.gamma(2.0, 0.02, (6, 5, 4))


def test_the_scale_reaches_all_pixels_but_the_few_highest():
    maps = RANDOM.gamma(2.0, 0.02, (40, 28, 28))
    scale = HeatScale.of(maps)
    beyond = (maps > scale.top).mean()
    assert 0 < beyond <= 0.001 and scale.clipped
    assert scale.top == float(f"{scale.top:.2g}")
    assert scale.ticks()[0] == "0" and scale.ticks()[-1] == f"≥ {scale.top:.2f}"


@pytest.mark.parametrize(("value", "top"), [(0.0, 1.0), (0.25, 0.25), (0.2501, 0.26), (3e-5, 3e-5)])
def test_the_scale_of_maps_of_one_value(value, top):
    scale = HeatScale.of(np.full((2, 3, 3), value))
    assert scale.top == pytest.approx(top) and not scale.clipped


def test_one_pixel_among_zeros_still_has_a_scale():
    maps = np.zeros((50, 28, 28))
    maps[3, 1, 2] = 0.4
    scale = HeatScale.of(maps)
    assert scale.top == pytest.approx(0.4)
    assert (scale.levels(maps)[3, 0, 1, 2], scale.levels(maps).astype(int).sum()) == (255, 255)


def test_levels_give_the_map_back_to_half_a_step():
    scale = HeatScale.of(MAPS)
    back = scale.levels(MAPS)[:, 0] / 255 * scale.top
    np.testing.assert_allclose(back, np.minimum(MAPS, scale.top), atol=scale.top / 509)


def test_heat_over_an_image_pixel_by_pixel():
    levels = HeatScale.of(MAPS).levels(MAPS)
    colours = matplotlib.colormaps["plasma"]
    heated = overlay(IMAGES, levels)
    for n, y, x in np.ndindex(6, 5, 4):
        level = int(levels[n, 0, y, x])
        alpha = 0.9 * (level / 255) ** 0.7
        wanted = (1 - alpha) * int(IMAGES[n, 0, y, x]) + alpha * 255 * np.asarray(colours(level / 255)[:3])
        np.testing.assert_allclose(heated[n, :, y, x], wanted, atol=1.6)


def test_where_there_is_no_heat_the_image_shows():
    np.testing.assert_array_equal(overlay(IMAGES, np.zeros_like(IMAGES)), np.repeat(IMAGES, 3, 1))


def test_no_colour_of_the_heat_is_a_grey_and_lightness_only_rises():
    colours = palette()[:, :3] / 255
    assert min(colorsys.rgb_to_hsv(*colour)[1] for colour in colours) > 0.5
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    lightness = np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)
    assert np.diff(lightness).min() > -0.3 and (np.diff(palette()[:, 3].astype(int)) >= 0).all()


@pytest.mark.parametrize(
    ("reduce", "oracle"),
    [
        ("sum", lambda variance: variance.sum()),
        ("mean", lambda variance: variance.mean()),
        ("top", lambda variance: variance.max()),  # the highest hundredth of 20 pixels is one pixel
        (None, lambda variance: variance.sum()),  # a run that does not say how its maps were made
    ],
)
def test_samples_are_ranked_by_the_reduction_of_the_run(reduce, oracle):
    made = MapsEntry("trajectory", "euler", "share", reduce, 2.0, "") if reduce else None
    np.testing.assert_allclose(map_scores(MAPS, made), [oracle(one**2) for one in MAPS])


def test_the_page_gets_numbers_beside_the_pictures():
    data = page_heat(MAPS, None)
    np.testing.assert_allclose(data["highest"], MAPS.max((1, 2)), rtol=1e-3)
    np.testing.assert_allclose(data["mean"], MAPS.mean((1, 2)), rtol=1e-3)
    assert len(data["palette"]) == 256 * 4


def test_maps_come_from_tensors_of_any_precision():
    maps = as_maps(torch.from_numpy(MAPS).half(), IMAGES)
    assert maps.dtype == np.float64
    np.testing.assert_allclose(maps, MAPS, rtol=1e-3)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (MAPS[:-1], "one for each image \\(6, 1, 5, 4\\), but they are float64 \\(5, 5, 4\\)"),
        (MAPS[:, None], "Pixel maps must be float \\(N, H, W\\)"),
        (np.ones((6, 5, 4), int), "they are int64"),
        (-MAPS, "finite and not negative"),
        (np.where(MAPS > 0.05, np.nan, MAPS), "finite and not negative"),
    ],
)
def test_what_is_no_map_is_refused(maps, message):
    with pytest.raises(DataError, match=message):
        as_maps(maps, IMAGES)


def test_points_have_no_maps():
    with pytest.raises(DataError, match="Pixel maps must be"):
        as_maps(MAPS, np.zeros((6, 2)))


def test_the_figure_shows_both_ends_of_the_ranking():
    figure = heat.maps_figure(IMAGES, MAPS, MapsEntry("trajectory", "euler", "share", "mean", 2.0, ""))
    pictures = [axes.images[0].get_array() for axes in figure.axes[:-1]]
    order = np.argsort((MAPS**2).mean((1, 2)))
    assert len(pictures) == 12, "image and heat of three samples at each end"
    for shown, sample in zip((*pictures[:3], *pictures[6:9]), (*order[::-1][:3], *order[:3])):
        np.testing.assert_array_equal(shown[..., 0], IMAGES[sample, 0])
    ticks = [tick.get_text() for tick in figure.axes[-1].get_xticklabels()]
    assert ticks == HeatScale.of(MAPS).ticks()
