"""The uncertain region of an image: brute force, dilation, refusals."""

from __future__ import annotations

import pytest
import torch

from genuq.applications.regions import dilated, on_images, require_region, uncertain_region
from genuq.errors import ConfigurationError
from support.application_cases import generator


def test_holds_the_pixels_of_highest_variance() -> None:
    variance = torch.rand(5, 3, 6, 7, generator=generator())
    region = uncertain_region(variance, 0.25)
    assert region.shape == (5, 1, 6, 7)
    for image, chosen in zip(variance, region):
        total = image.sum(0)
        assert int(chosen.sum()) == round(0.25 * 42)
        assert total[chosen[0]].min() > total[~chosen[0]].max()


def test_grows_by_its_neighbours() -> None:
    region = torch.zeros(1, 1, 7, 7, dtype=torch.bool)
    region[0, 0, 2, 3] = region[0, 0, 6, 6] = True
    for times in (0, 1, 2):
        expected = torch.zeros_like(region)
        for y, x in ((2, 3), (6, 6)):
            expected[0, 0, max(0, y - times) : y + times + 1, max(0, x - times) : x + times + 1] = True
        assert torch.equal(dilated(region, times), expected)


def test_of_latents_on_images() -> None:
    region = torch.tensor([[[[True, False], [False, False]]]])
    assert torch.equal(on_images(region, (1, 4, 4))[0, 0, :2, :2], torch.ones(2, 2, dtype=torch.bool))
    assert on_images(region, (1, 4, 4)).sum() == 4


@pytest.mark.parametrize(
    ("variance", "share", "message"),
    [
        (torch.ones(2, 1, 4, 4), 0.01, r"application\.region = 0\.01 selects 0 of 16 pixels"),
        (torch.ones(2, 1, 4, 4), 1.5, r"application\.region = 1\.5"),
        (torch.stack([torch.ones(1, 4, 4), torch.zeros(1, 4, 4)]), 0.5, r"selects nothing of image 1 \(1 such of 2\)"),
        (torch.ones(2, 3), 0.5, r"application\.region needs images"),
    ],
)
def test_refusals(variance: torch.Tensor, share: float, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        uncertain_region(variance, share)


def test_a_region_that_selects_nothing_is_refused() -> None:
    region = torch.ones(2, 1, 3, 3, dtype=torch.bool)
    region[1] = False
    with pytest.raises(ConfigurationError, match=r"selects nothing of image 1"):
        require_region(region)
    with pytest.raises(ConfigurationError, match=r"must be boolean"):
        require_region(region.float())
