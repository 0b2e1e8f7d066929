"""The family hunyuan_image: genuq's samples are its pipeline's own."""

from __future__ import annotations

from support.pretrained_cases import assert_the_pipelines_own


def test_samples_and_images_are_the_pipelines_own() -> None:
    assert_the_pipelines_own("hunyuan_image")
