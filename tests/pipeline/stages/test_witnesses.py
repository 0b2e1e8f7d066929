"""Witnesses of a run: settings that cannot work, and spaces, each of which sees for itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.pipeline.run import Run
from genuq.pipeline.stages.witnesses import asks_witnesses, check_witnesses, spaces_of
from support.small_runs import IMAGES, composed

RECTIFY = ["application=rectify", "application.witnesses=[pixels,efficientnet]", "application.rise=0.001"]


@pytest.fixture
def rectifying(image_root: Path, tmp_path: Path) -> list[str]:
    return [*IMAGES, f"data.root={image_root}", f"store={tmp_path}/store", *RECTIFY]


def check(folder: Path, *overrides: str) -> None:
    run = Run(composed(*overrides), folder, "genuq")
    check_witnesses(run, run.plain("application")["application"])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["application.witnesses=[]"], r"application\.witnesses names 0; at least 1 needed"),
        (
            ["application.witnesses=[pixels]", "application.rise=null"],
            r"application\.witnesses names 1; at least 2 needed, as they judge each other",
        ),
        (
            ["application.witnesses=[pixels,pixel]"],
            r"application\.witnesses: .*'pixel' does not exist\. Did you mean 'pixels'",
        ),
        (
            ["application.witnesses=[scoring,pixels]"],
            r"application\.witnesses: 'pixels' and 'scoring' are the same space \(pixels-1x16x16\)",
        ),
        (["metric.extractor=efficientnet"], r"application\.witnesses: 'efficientnet' is the judge's own space"),
    ],
)
def test_what_cannot_work_is_named(overrides: list[str], said: str, rectifying: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=said):
        check(tmp_path, *rectifying, *overrides)


def test_where_none_is_asked_none_is_checked(rectifying: list[str], tmp_path: Path) -> None:
    check(tmp_path, *rectifying)
    check(tmp_path, *rectifying, "application.rule=score", "application.failed_by=score", "application.witnesses=[]")
    assert not asks_witnesses({"failed_by": "score", "rule": "score"})
    assert asks_witnesses({"failed_by": "witnesses", "rule": "score"})
    assert asks_witnesses({"failed_by": "score", "rule": "witnesses"})


def test_a_space_sees_images_between_0_and_1_and_only_those_declared_are_there(
    rectifying: list[str], tmp_path: Path
) -> None:
    spaces = spaces_of(Run(composed(*rectifying), tmp_path, "genuq"), ["scoring", "pixels"])
    images = 2 * torch.rand(3, 1, 16, 16) - 1
    for name in ("scoring", "pixels"):  # the likelihood of these runs is that of pixels
        space, embed = spaces.feature_map(name)
        assert space == "pixels-1x16x16"
        torch.testing.assert_close(embed(images), ((images + 1) / 2).flatten(1))
    with pytest.raises(ConfigurationError, match=r"the space 'clip', but application\.witnesses names scoring"):
        spaces.feature_map("clip")
