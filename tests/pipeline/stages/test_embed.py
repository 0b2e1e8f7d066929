"""The stage `embed`: the judge's features of samples and of draws, and which real images it compares with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq.data import as_dataset, gaussian_mixture
from genuq.extractors import FromCallable
from genuq.extractors.judge import Judge, extractor_judge, points_judge
from genuq.models import to_bytes
from genuq.pipeline.stages.embed import features_of, read_embeddings, read_judged, reference_images
from genuq.pipeline.stages.sample import read_samples
from support.small_runs import POINTS, copied, launch, run_of


def means() -> Judge:
    return extractor_judge(FromCallable(lambda images: images.mean((2, 3)), "means", 3))


def test_draws_are_seen_one_by_one_like_samples() -> None:
    draws = 2 * torch.rand(4, 5, 3, 6, 6) - 1
    found = features_of(means(), draws, are_images=True)
    assert found.shape == (4, 5, 3)
    for m in range(5):
        torch.testing.assert_close(found[:, m], (to_bytes(draws[:, m]).float() / 255).mean((2, 3)))
        torch.testing.assert_close(features_of(means(), draws[:, m], are_images=True), found[:, m])
    points = torch.randn(4, 5, 2)
    assert torch.equal(features_of(points_judge(gaussian_mixture(8, 4)), points, are_images=False), points)


@pytest.mark.parametrize("count", [7, 500])
def test_reference_images_are_a_seeded_subset_of_the_test_set(count: int) -> None:
    items = torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    test_set = as_dataset(items)
    found = reference_images(test_set, count, seed=3)
    known = {image.numpy().tobytes() for image in items}
    assert found.dtype == torch.uint8 and len({image.numpy().tobytes() for image in found} & known) == min(count, 20)
    assert torch.equal(found, reference_images(test_set, count, seed=3))


def test_points_are_embedded_as_they_are(points_run: Path) -> None:
    run = run_of(points_run, *POINTS)
    samples, embedded = read_samples(run.path("sample")), read_embeddings(run.path("embed"))
    torch.testing.assert_close(embedded["image"], samples["image"])
    torch.testing.assert_close(embedded["draws"], samples["draws"])
    judged = read_judged(run.path("embed"))
    torch.testing.assert_close(judged["draws"], samples["draws"])
    assert judged["real"].shape == (40, 2)


def test_runs_that_compare_with_the_same_images_embed_them_once(points_run: Path, tmp_path: Path) -> None:
    """Another sampler shares them; other images do not, nor does another seed that draws others."""
    folder = copied(points_run, tmp_path / "run")
    stages = [*(text for text in POINTS if not text.startswith("stages=")), "stages=[train,fit,sample,embed]"]

    def real(*more: str) -> Path:
        launch(folder, *stages, *more)
        return (folder / "embed" / "real.safetensors").resolve()

    def kept() -> int:
        return len(list((folder / "store/references").glob("*.json")))

    first, before = real("sampler.steps=2"), kept()
    assert real("sampler.steps=4").samefile(first) and kept() == before
    assert not real("metric.reference_images=30").samefile(first) and kept() == before + 1
