"""Pixel maps: standard deviations of a sample's pixels as heat over its image, on one scale for all samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genuq.analysis.results import MapsEntry
from genuq.errors import DataError
from genuq.report.drawing.style import colour, styled
from genuq.report.drawing.values import significant

LEVELS = 256
TAIL = 0.001  # share of all pixels that may lie beyond the scale
OPACITY, FADE = 0.9, 0.7  # opacity of the highest value, and the power of the level with which it fades to none
COLUMNS = 10  # of samples in the figure
UNIT = "share of the image's range"
REDUCTIONS = {
    "sum": "sum of the variances of the pixels",
    "mean": "mean variance of the pixels",
    "top": "mean variance of the most uncertain pixels",
}


def as_maps(maps: torch.Tensor | np.ndarray, images_NCHW: np.ndarray) -> np.ndarray:
    """Maps as a float64 array (N, H, W) that belongs to the images.

    Raises:
        DataError: another shape or type than the images ask for, or values that are no standard deviations.
    """
    array = maps.detach().cpu().numpy() if isinstance(maps, torch.Tensor) else np.asarray(maps)
    wanted = (len(images_NCHW), *images_NCHW.shape[2:]) if images_NCHW.ndim == 4 else None
    if array.shape != wanted or not np.issubdtype(array.dtype, np.floating):
        raise DataError(
            f"Pixel maps must be float (N, H, W), one for each image {tuple(images_NCHW.shape)}, "
            f"but they are {array.dtype} {tuple(array.shape)}."
        )
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise DataError("Pixel maps are standard deviations: finite and not negative, but some values are not.")
    return array.astype(np.float64)


@dataclass(frozen=True)
class HeatScale:
    """One scale for all maps, from 0 to `top` in shares of the image's range; `clipped` if some pixels lie beyond."""

    top: float
    clipped: bool

    @classmethod
    def of(cls, maps_NHW: np.ndarray) -> HeatScale:
        """Reaches all pixels but the few highest, rounded up to two digits."""
        high = float(np.quantile(maps_NHW, 1 - TAIL))
        high = high or float(maps_NHW.max()) or 1.0
        unit = 10.0 ** (np.floor(np.log10(high)) - 1)
        top = float(f"{np.ceil(high / unit - 1e-9) * unit:.2g}")
        return cls(top, bool((maps_NHW > top).any()))

    def levels(self, maps_NHW: np.ndarray) -> np.ndarray:
        """uint8 (N, 1, H, W): the place on the scale, 255 at its top and beyond."""
        return np.round((LEVELS - 1) * np.clip(maps_NHW / self.top, 0, 1)).astype(np.uint8)[:, None]

    def ticks(self, count: int = 5) -> list[str]:
        """Numbers under the colour bar, evenly from its first to its last colour."""
        texts = [significant(float(value), 2) for value in np.linspace(0, self.top, count)]
        return [*texts[:-1], f"≥ {texts[-1]}"] if self.clipped else texts


def palette() -> np.ndarray:
    """uint8 (256, 4): colour and opacity of each level.

    The colour map is perceptually uniform and has no grey in it, so that heat is not mistaken for image. Where there is
    no heat, the image shows.
    """
    colours = matplotlib.colormaps["plasma"](np.linspace(0, 1, LEVELS))
    colours[:, 3] = OPACITY * np.linspace(0, 1, LEVELS) ** FADE
    return np.round(255 * colours).astype(np.uint8)


def overlay(images_NCHW: np.ndarray, levels_N1HW: np.ndarray) -> np.ndarray:
    """Heat over images, uint8 (N, 3, H, W)."""
    heat_NHW4 = palette()[levels_N1HW[:, 0]].astype(float)
    alpha_N1HW = heat_NHW4[:, None, :, :, 3] / 255
    under = np.broadcast_to(images_NCHW, (len(images_NCHW), 3, *images_NCHW.shape[2:]))
    return np.round((1 - alpha_N1HW) * under + alpha_N1HW * heat_NHW4[..., :3].transpose(0, 3, 1, 2)).astype(np.uint8)


def heat_unit(entry: MapsEntry | None) -> str:
    return UNIT if entry is None else entry.unit


def reduction(entry: MapsEntry | None) -> str:
    """How one number is made of a map, a key of `REDUCTIONS`."""
    return "sum" if entry is None else entry.score_reduce


def reduction_words(entry: MapsEntry | None) -> str:
    return REDUCTIONS[reduction(entry)]


def map_scores(maps_NHW: np.ndarray, entry: MapsEntry | None) -> np.ndarray:
    """One number a sample, by which the page sorts its maps."""
    from genuq.propagators import image_score  # brings the posteriors along, which a page without maps needs not

    return image_score(torch.from_numpy(maps_NHW).square(), reduction(entry)).numpy()


def page_heat(maps_NHW: np.ndarray, entry: MapsEntry | None) -> dict[str, Any]:
    """What the page's script needs to paint heat and to tell of it."""
    scores = [float(f"{value:.6g}") for value in map_scores(maps_NHW, entry)]
    tops = [float(f"{value:.4g}") for value in maps_NHW.max((1, 2))]
    means = [float(f"{value:.4g}") for value in maps_NHW.mean((1, 2))]
    return {
        "scores": scores,
        "highest": tops,
        "mean": means,
        "unit": heat_unit(entry),
        "palette": palette().flatten().tolist(),
    }


def gradient() -> str:
    """The colour bar as a CSS gradient, with the opacities that it has over images."""
    stops = palette()[np.linspace(0, LEVELS - 1, 17).round().astype(int)]
    return ", ".join(f"rgb({r} {g} {b} / {a / 255:.2f})" for r, g, b, a in stops.tolist())


@styled
def maps_figure(images_NCHW: np.ndarray, maps_NHW: np.ndarray, entry: MapsEntry | None) -> Figure:
    """The samples with the most and with the least uncertain maps: image, heat over it, and the scale in numbers."""
    scale, order = HeatScale.of(maps_NHW), np.argsort(map_scores(maps_NHW, entry), kind="stable")
    count = min(COLUMNS, max(1, len(order) // 2))
    blocks = (("Most uncertain by the map", order[::-1][:count]), ("Most certain by the map", order[:count]))
    side, left, gap, head, foot = 0.78, 0.12, 0.05, 0.34, 0.86
    width = max(left + count * side + left, 5.0)
    height = 2 * (head + 2 * side + gap) + foot
    figure = Figure(figsize=(width, height))
    for block, (title, chosen) in enumerate(blocks):
        top = height - block * (head + 2 * side + gap) - head
        figure.text(left / width, (top + 0.09) / height, title, size=10, weight="bold")
        heated = overlay(images_NCHW[chosen], scale.levels(maps_NHW[chosen]))
        for row, pictures in enumerate((images_NCHW[chosen], heated)):
            for column, picture_CHW in enumerate(pictures):
                box = (left + column * side, top - (row + 1) * side, side - gap, side - gap)
                _picture(
                    figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height)), picture_CHW
                )
    _bar(figure.add_axes(((left + 0.1) / width, 0.55 / height, 3.2 / width, 0.12 / height)), scale, heat_unit(entry))
    caption = f"Sorted by the {reduction_words(entry)}.\nOne scale for all {len(maps_NHW):,} samples."
    figure.text((left + 3.75) / width, 0.6 / height, caption, size=8, color=colour("plot-muted"), va="center")
    return figure


def _picture(axes: Axes, picture_CHW: np.ndarray) -> None:
    shown = np.broadcast_to(picture_CHW, (3, *picture_CHW.shape[1:])).transpose(1, 2, 0)
    axes.imshow(shown, interpolation="nearest" if shown.shape[0] <= 96 else "auto", aspect="auto")
    axes.set_axis_off()


def _bar(axes: Axes, scale: HeatScale, unit: str) -> None:
    """The colours of the scale over black and over white, as they look on dark and on bright pixels."""
    strip = np.zeros((2, 1, 1, LEVELS), np.uint8)
    strip[1] = 255
    both = overlay(strip, np.broadcast_to(np.arange(LEVELS, dtype=np.uint8), (2, 1, 1, LEVELS)))
    axes.imshow(both[:, :, 0].transpose(0, 2, 1), aspect="auto", interpolation="nearest", extent=(0, 1, 0, 1))
    ticks = scale.ticks()
    axes.set_xticks(np.linspace(0, 1, len(ticks)), ticks)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.set_xlabel(f"standard deviation, {unit}", size=8)
